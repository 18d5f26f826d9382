import CertsCore
import Foundation
import Synchronization

/// The addresses of a host, looked up with a deadline: the resolver of the C library has none.
enum HostAddresses {
    /// Blocking, at most for `limit`.
    ///
    /// - Returns: numeric addresses in the order of the resolver (RFC 6724), at least one.
    /// - Throws: ``PostgresFailure``.
    static func look(up host: String, within limit: Duration) throws -> [String] {
        let answer = Answer()
        Thread {
            let result = Result { () throws(PostgresFailure) in try resolve(host) }
            answer.found.withLock { $0 = result }
            answer.done.signal()
        }.start()
        let seconds = Double(limit / .milliseconds(1)) / 1000
        guard answer.done.wait(timeout: .now() + seconds) == .success, let result = answer.found.withLock({ $0 }) else {
            throw PostgresFailure(state: nil, message: "the address of \(host) is not known in time")
        }
        return try result.get()
    }

    private final class Answer: Sendable {
        let found = Mutex<Result<[String], PostgresFailure>?>(nil)
        let done = DispatchSemaphore(value: 0)
    }

    private static func resolve(_ host: String) throws(PostgresFailure) -> [String] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_ADDRCONFIG
        var list: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host, nil, &hints, &list)
        defer { freeaddrinfo(list) }
        var addresses: [String] = []
        var entry = list
        while let current = entry?.pointee {
            var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            let length = socklen_t(text.count)
            if getnameinfo(current.ai_addr, current.ai_addrlen, &text, length, nil, 0, NI_NUMERICHOST) == 0 {
                addresses.append(String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
            }
            entry = current.ai_next
        }
        guard status == 0, !addresses.isEmpty else {
            let reason = status == 0 ? "no address" : String(cString: gai_strerror(status))
            throw PostgresFailure(state: nil, message: "the name \(host) has no address: \(reason)")
        }
        return addresses
    }
}
