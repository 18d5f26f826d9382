package import CertsCore
import Foundation

/// One connection to Redis: RESP2, one command at a time, each with a deadline. Used by one thread; blocking.
package final class RedisConnection {
    package enum Reply: Sendable, Hashable {
        case text(String)
        case integer(Int)
        case list([Reply])
        case null
    }

    private let descriptor: Int32
    private var input: [UInt8] = []
    private let place: String
    private let patience: Duration

    /// What one reply may take of memory.
    private static let sizeLimit = 16 << 20

    /// Connects and authenticates.
    /// - Throws: `redis.failed`.
    package init(_ declaration: RedisDeclaration, password: Secret?, within patience: Duration = .seconds(5)) throws {
        place = "\(declaration.host):\(declaration.port)"
        self.patience = patience
        // From here on `deinit` closes it, also when this initialiser throws.
        descriptor = try Self.connect(declaration, until: .now + patience, place: place)
        if let password {
            try write([Array("AUTH".utf8), password.withBytes { Array($0) }], until: .now + patience)
            _ = try checked(read(until: .now + patience), "AUTH")
        }
        try run("PING")
    }

    deinit { close(descriptor) }

    /// Sends one command and returns its reply. An error of Redis is thrown.
    @discardableResult
    package func run(_ words: String...) throws -> Reply {
        let end = ContinuousClock.now + patience
        try write(words.map { Array($0.utf8) }, until: end)
        return try checked(read(until: end), words.first ?? "")
    }

    private enum Raw {
        case reply(Reply)
        case error(String)
    }

    private func checked(_ raw: Raw, _ command: String) throws -> Reply {
        switch raw {
        case .reply(let reply): return reply
        case .error(let text): throw failure("\(command): \(TerminalText.sanitized(text, limit: 200))")
        }
    }

    private func failure(_ what: String) -> CertsError { Self.failure(what, place) }

    private static func failure(_ what: String, _ place: String) -> CertsError {
        CertsError(
            .redisFailed, "Redis at \(place): \(what)", subject: place,
            hint: "look whether it runs, and at `maintenance.redis`", retry: .later)
    }

    // MARK: - The socket

    private static func connect(_ declaration: RedisDeclaration, until end: ContinuousClock.Instant, place: String)
        throws
        -> Int32
    {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(declaration.host, String(declaration.port), &hints, &list)
        guard code == 0 else { throw failure(String(cString: gai_strerror(code)), place) }
        defer { freeaddrinfo(list) }
        var problem = "no address"
        var next = list
        while let entry = next?.pointee {
            next = entry.ai_next
            let flags = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
            let found = socket(entry.ai_family, flags, 0)
            guard found >= 0 else { continue }
            if Foundation.connect(found, entry.ai_addr, entry.ai_addrlen) == 0 { return found }
            var code = errno
            if code == EINPROGRESS, wait(found, POLLOUT, until: end) {
                var length = socklen_t(MemoryLayout<Int32>.size)
                getsockopt(found, SOL_SOCKET, SO_ERROR, &code, &length)
                if code == 0 { return found }
            }
            problem = code == EINPROGRESS ? "no answer in time" : String(cString: strerror(code))
            close(found)
        }
        throw failure(problem, place)
    }

    private static func wait(_ descriptor: Int32, _ events: Int32, until end: ContinuousClock.Instant) -> Bool {
        while true {
            let left = end - ContinuousClock.now
            guard left > .zero else { return false }
            var entry = pollfd(fd: descriptor, events: Int16(events), revents: 0)
            let count = poll(&entry, 1, Int32(min(1000, left / .milliseconds(1) + 1)))
            if count > 0 { return true }
            if count < 0, errno != EINTR { return false }
        }
    }

    private func write(_ words: [[UInt8]], until end: ContinuousClock.Instant) throws {
        var bytes = Array("*\(words.count)\r\n".utf8)
        for word in words { bytes += Array("$\(word.count)\r\n".utf8) + word + [13, 10] }
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if errno == EAGAIN {
                guard Self.wait(descriptor, POLLOUT, until: end) else { throw failure("takes nothing in time") }
            } else if errno != EINTR {
                throw failure(String(cString: strerror(errno)))
            }
        }
    }

    private func fill(until end: ContinuousClock.Instant) throws {
        guard Self.wait(descriptor, POLLIN, until: end) else { throw failure("no answer in time") }
        var buffer = [UInt8](repeating: 0, count: 16384)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        if count < 0, errno == EINTR || errno == EAGAIN { return }
        guard count > 0 else { throw failure("closed the connection") }
        input += buffer[..<count]
        guard input.count <= Self.sizeLimit else { throw failure("an answer is too large") }
    }

    // MARK: - Replies

    private func read(until end: ContinuousClock.Instant, depth: Int = 0) throws -> Raw {
        guard depth < 4 else { throw failure("an answer is nested too deeply") }
        let line = try line(until: end)
        guard let kind = line.first else { throw failure("an empty answer") }
        let text = String(decoding: line.dropFirst(), as: UTF8.self)
        switch kind {
        case UInt8(ascii: "+"): return .reply(.text(text))
        case UInt8(ascii: "-"): return .error(text)
        case UInt8(ascii: ":"):
            guard let number = Int(text) else { throw failure("no number") }
            return .reply(.integer(number))
        case UInt8(ascii: "$"):
            guard let length = Int(text), length <= Self.sizeLimit else { throw failure("no length") }
            return .reply(length < 0 ? .null : .text(String(decoding: try bytes(length, until: end), as: UTF8.self)))
        case UInt8(ascii: "*"):
            guard let count = Int(text), count <= 100_000 else { throw failure("no count") }
            guard count >= 0 else { return .reply(.null) }
            var list: [Reply] = []
            for _ in 0..<count { list.append(try checked(read(until: end, depth: depth + 1), "list")) }
            return .reply(.list(list))
        default: throw failure("an answer that is not RESP")
        }
    }

    private func line(until end: ContinuousClock.Instant) throws -> [UInt8] {
        while true {
            if let end = input.firstIndex(of: 13), input.indices.contains(end + 1) {
                let line = Array(input[..<end])
                input.removeFirst(end + 2)
                return line
            }
            try fill(until: end)
        }
    }

    private func bytes(_ count: Int, until end: ContinuousClock.Instant) throws -> [UInt8] {
        while input.count < count + 2 { try fill(until: end) }
        defer { input.removeFirst(count + 2) }
        return Array(input[..<count])
    }
}
