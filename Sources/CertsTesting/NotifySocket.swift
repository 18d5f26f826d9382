import Foundation

/// The socket on which systemd listens to a service: one datagram for each message.
package final class NotifySocket: Sendable {
    /// As `NOTIFY_SOCKET` names it: a path, or `@` and a name in the abstract namespace.
    package let name: String
    private let directory: TemporaryDirectory
    private let descriptor: Int32

    package init(isAbstract: Bool = false) throws {
        directory = try TemporaryDirectory(prefix: "certs-notify")
        name = isAbstract ? "@\(directory.path)" : directory.path("notify")
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { path in
            path.copyBytes(from: name.utf8)
            if isAbstract { path[0] = 0 }
        }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + name.utf8.count)
        let descriptor = descriptor
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) }
        }
        guard result == 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
    }

    deinit { close(descriptor) }

    /// The next message; `nil`: none within `seconds`. Blocking.
    package func next(within seconds: Double = 10) -> String? {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&entry, 1, Int32(seconds * 1000)) == 1 else { return nil }
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        return count < 0 ? nil : String(decoding: buffer.prefix(count), as: UTF8.self)
    }

    /// The next message that is as wanted; those before it are dropped.
    package func next(within seconds: Double = 10, where isWanted: (String) -> Bool) -> String? {
        let end = Date().addingTimeInterval(seconds)
        while Date() < end, let message = next(within: max(0, end.timeIntervalSinceNow)) {
            if isWanted(message) { return message }
        }
        return nil
    }

    /// All messages of this time.
    package func all(for duration: Duration) -> [String] {
        var messages: [String] = []
        let end = ContinuousClock.now + duration
        while ContinuousClock.now < end {
            if let message = next(within: 0.05) { messages.append(message) }
        }
        return messages
    }
}
