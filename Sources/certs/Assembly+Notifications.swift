import CertsCore
import CertsEngine
import CertsIssuers
import CertsNotify
import CertsStore
import Foundation

extension Assembly {
    /// - Parameter pause: the shortest time between two messages to a channel, in seconds.
    func notifier(pause: TimeInterval = 0) -> Notifier {
        let channels = declarations.notifications.channels.map { declaration in
            (declaration.name, ChannelFactory.make(declaration) { try SecretFile.read($0, what: $1) })
        }
        let state = state
        return Notifier(
            context: engine.context, store: database,
            channels: Dictionary(channels, uniquingKeysWith: { first, _ in first }), host: Self.hostName, pause: pause,
            lock: { try await state.lockNotifications(to: $0, deadline: $1) })
    }

    /// Tells people after `body`, also when it could not do its work: no channel can change what came of it, or when.
    func tellingAtTheEnd(_ body: () async throws -> Void) async throws {
        do {
            try await body()
        } catch {
            await notifier().tellBeforeEnd()
            throw error
        }
        await notifier().tellBeforeEnd()
    }

    /// Of this machine, for people; not looked up in the DNS.
    static var hostName: String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "unknown" }
        return TerminalText.sanitized(
            String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }
}
