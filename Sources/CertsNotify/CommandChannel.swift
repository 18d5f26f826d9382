package import CertsCore
import CertsPrograms
package import Foundation

/// A program of the user that gets the message as JSON on its standard input.
package struct CommandChannel: NotificationChannel {
    let name: Name
    let arguments: [String]
    /// Seconds.
    let timeout: TimeInterval

    package init(name: Name, arguments: [String], timeout: TimeInterval) {
        self.name = name
        self.arguments = arguments
        self.timeout = timeout
    }

    package func send(_ message: NotificationMessage) async throws {
        let program = Program(
            arguments, deadline: .milliseconds(Int(max(1, min(timeout, 3600) * 1000))), outputLimit: 64 << 10,
            keepsHome: true)
        do {
            try await program.run(input: Array(try MessageJSON.encode(message)))
        } catch let failure as ProgramFailure {
            let words = arguments.prefix(1).map { URL(filePath: $0).lastPathComponent }
            throw failure.certsError(
                .notificationFailed, "the command '\(Program.shown(words))' of \(name)", subject: name.rawValue)
        }
    }
}
