import CertsCore
import Foundation

/// Tells systemd how the service is: the protocol of `sd_notify(3)`, which is one datagram of `NAME=VALUE` lines.
///
/// The socket and the period of the watchdog come from the environment. Without them there is no notifier.
package struct SystemdNotifier: Sendable {
    /// A path, or a name after `@` in the abstract namespace.
    private let socket: String
    /// Within which systemd wants a sign of life (`WatchdogSec=`); `nil`: it does not watch this process.
    package let watchdog: Duration?

    /// - Parameters:
    ///   - environment: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`.
    ///   - process: the one that the watchdog must be meant for; a child inherits the variables too.
    package init?(_ environment: [String: String], process: Int32 = getpid()) {
        guard let socket = environment["NOTIFY_SOCKET"], socket.hasPrefix("/") || socket.hasPrefix("@"),
            socket.utf8.count > 1, socket.utf8.count < Self.longestPath
        else { return nil }
        self.socket = socket
        let isMeant = environment["WATCHDOG_PID"].map { Int32($0) == process } ?? true
        let microseconds = environment["WATCHDOG_USEC"].flatMap(Int64.init) ?? 0
        watchdog = isMeant && microseconds > 0 ? .microseconds(microseconds) : nil
    }

    private static let longestPath = MemoryLayout.size(ofValue: sockaddr_un().sun_path)

    package func ready() { send("READY=1") }
    package func stopping() { send("STOPPING=1", "STATUS=ending what has begun") }
    package func alive() { send("WATCHDOG=1") }
    package func say(_ status: String) { send("STATUS=\(TerminalText.sanitized(status))") }

    /// Never blocks and never fails: a supervisor that does not listen is no reason to renew nothing.
    private func send(_ lines: String...) {
        let descriptor = Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { path in
            path.copyBytes(from: socket.utf8)
            if socket.hasPrefix("@") { path[0] = 0 }
        }
        // An abstract name ends where the length says so, not at a NUL.
        let length = MemoryLayout<sockaddr_un>.offset(of: \.sun_path).map { $0 + socket.utf8.count } ?? 0
        let message = Array(lines.joined(separator: "\n").utf8)
        withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = sendto(
                    descriptor, message, message.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL), $0, socklen_t(length)
                )
            }
        }
    }
}
