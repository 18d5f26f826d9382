import CertsCore
import Foundation
import Synchronization

/// Host names into socket addresses, with a deadline that `getaddrinfo` does not have.
enum Resolution {
    /// A `sockaddr` with its text.
    struct Address: Sendable {
        let family: Int32
        let bytes: [UInt8]
        /// `127.0.0.1:443`, `[::1]:443`.
        let text: String
    }

    static let maximumAddresses = 16

    /// - Throws: `probe.unreachable` for a name that does not resolve, `probe.timeout`.
    static func addresses(of host: String, port: UInt16, limit: Deadline) throws(CertsError) -> [Address] {
        guard !host.isEmpty, host.utf8.count <= 253, !host.utf8.contains(0) else {
            throw CertsError(.probeUnreachable, "'\(host)' is not a host name", hint: "check the address")
        }
        if IPAddress(host) != nil || host.contains("%") {
            return try lookUp(host, port, AI_NUMERICHOST).get()
        }
        // The resolver waits as long as resolv.conf says. Its thread is left behind at the deadline and ends by itself.
        let answer = Answer()
        Thread.detachNewThread {
            let result = lookUp(host, port, 0)
            answer.value.withLock { $0 = result }
            answer.done.signal()
        }
        guard answer.done.wait(timeout: .now() + .milliseconds(Int(limit.milliseconds))) == .success,
            let result = answer.value.withLock({ $0 })
        else { throw Deadline.timeout("the name '\(host)' was not resolved") }
        return try result.get()
    }

    private final class Answer: Sendable {
        let value = Mutex<Result<[Address], CertsError>?>(nil)
        let done = DispatchSemaphore(value: 0)
    }

    private static func lookUp(_ host: String, _ port: UInt16, _ flags: Int32) -> Result<[Address], CertsError> {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = flags | AI_NUMERICSERV
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, String(port), &hints, &list)
        guard code == 0 else {
            return .failure(
                CertsError(
                    .probeUnreachable, "the name '\(host)' has no address: \(String(cString: gai_strerror(code)))",
                    hint: "check the name and the resolver of this host", retry: .later))
        }
        defer { freeaddrinfo(list) }
        var addresses: [Address] = []
        var next = list
        while let entry = next?.pointee, addresses.count < maximumAddresses {
            if let address = entry.ai_addr {
                let bytes = [UInt8](UnsafeRawBufferPointer(start: address, count: Int(entry.ai_addrlen)))
                addresses.append(Address(family: entry.ai_family, bytes: bytes, text: text(address, entry.ai_addrlen)))
            }
            next = entry.ai_next
        }
        return .success(addresses)
    }

    private static func text(_ address: UnsafePointer<sockaddr>, _ length: socklen_t) -> String {
        var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        var port = [CChar](repeating: 0, count: Int(NI_MAXSERV))
        guard
            getnameinfo(
                address, length, &host, socklen_t(host.count), &port, socklen_t(port.count),
                NI_NUMERICHOST | NI_NUMERICSERV) == 0
        else { return "?" }
        let parts = [host, port].map { chars in
            String(decoding: chars.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
        return parts[0].contains(":") ? "[\(parts[0])]:\(parts[1])" : "\(parts[0]):\(parts[1])"
    }
}
