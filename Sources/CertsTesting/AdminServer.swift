import Foundation
import Synchronization

/// The admin API of a messenger on a loopback port: announcements, and a maintenance mode; behaving well or badly.
///
/// It knows `Idempotency-Key`: an announcement that comes twice under one key counts once.
package final class AdminServer: Sendable {
    /// What becomes of one request.
    package enum Behaviour: Sendable {
        case normal
        /// Refused with this status; nothing is done.
        case status(Int)
        /// Neither done nor answered.
        case hangs
        /// Done, and the connection is closed without an answer.
        case losesAnswer
        /// Done and answered, after so many seconds.
        case late(Double)
        /// Answered as if it were done; of GET, with the contrary of what is so.
        case lies
    }

    package struct Request: Sendable {
        package let method: String
        package let path: String
        /// Names in lower case.
        package let headers: [String: String]
        package let body: String
    }

    package static let announcements = "/api/v1/admin/announcements"
    package static let maintenance = "/api/v1/admin/maintenance"
    package static let token = "token-of-the-tests"

    private struct State {
        var isOn = false
        var everOn = false
        var requests: [Request] = []
        var announced: [(key: String, body: String)] = []
        var rules: [(method: String, path: String, behaviours: [Behaviour])] = []
    }

    /// `http://127.0.0.1:PORT`.
    package let url: String
    private let listener: Int32
    private let state = Mutex(State())

    package init() throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        listener = descriptor
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, size) | listen(descriptor, 16) | getsockname(descriptor, $0, &size)
            }
        }
        guard result == 0 else { throw POSIXError(.EADDRINUSE) }
        url = "http://127.0.0.1:\(UInt16(bigEndian: address.sin_port))"
        Thread.detachNewThread { [weak self] in
            while case let connection = accept(descriptor, nil, nil), connection >= 0 {
                guard let self else { return }
                Thread.detachNewThread { [self] in
                    serve(connection)
                    close(connection)
                }
            }
        }
    }

    deinit {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }

    /// Whether the maintenance mode is on.
    package var isOn: Bool {
        get { state.withLock { $0.isOn } }
        set { state.withLock { $0.isOn = newValue } }
    }

    /// Whether it ever was, since the start or ``reset()``.
    package var wasEverOn: Bool { state.withLock { $0.everOn } }

    package var requests: [Request] { state.withLock { $0.requests } }

    /// What the users have read: the bodies, each once.
    package var announcements: [String] { state.withLock { $0.announced.map(\.body) } }

    /// How the next requests of this kind are treated, one after another; the ones after them again as usual.
    package func behave(_ method: String, _ path: String, _ behaviours: Behaviour...) {
        state.withLock { state in
            state.rules.removeAll { $0.method == method && $0.path == path }
            state.rules.append((method, path, behaviours))
        }
    }

    /// Forgets everything.
    package func reset() { state.withLock { $0 = State() } }

    private func next(_ request: Request) -> Behaviour {
        state.withLock { state in
            state.requests.append(request)
            let index = state.rules.firstIndex {
                $0.method == request.method && $0.path == request.path && !$0.behaviours.isEmpty
            }
            return index.map { state.rules[$0].behaviours.removeFirst() } ?? .normal
        }
    }

    private func serve(_ connection: Int32) {
        // So that no thread outlives the tests, whatever the client does.
        var limit = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        guard let request = Self.read(connection) else { return }
        switch next(request) {
        case .normal: Self.answer(connection, carryOut(request))
        case .status(let status): Self.answer(connection, (status, "{\"error\":\"no\"}"))
        case .hangs:
            var byte: UInt8 = 0
            while recv(connection, &byte, 1, 0) > 0 {}
        case .losesAnswer: _ = carryOut(request)
        case .late(let seconds):
            usleep(UInt32(seconds * 1_000_000))
            Self.answer(connection, carryOut(request))
        case .lies where request.method == "GET": Self.answer(connection, (200, "{\"enabled\":\(!isOn)}"))
        case .lies: Self.answer(connection, (200, "{}"))
        }
    }

    private func carryOut(_ request: Request) -> (Int, String) {
        guard request.headers["authorization"] == "Bearer \(Self.token)" else { return (401, "{\"error\":\"who?\"}") }
        switch (request.method, request.path) {
        case ("POST", Self.announcements):
            state.withLock { state in
                let key = request.headers["idempotency-key"] ?? UUID().uuidString
                if !state.announced.contains(where: { $0.key == key }) { state.announced.append((key, request.body)) }
            }
            return (201, "{}")
        case ("POST", Self.maintenance):
            struct Mode: Decodable { let enabled: Bool }
            guard let mode = try? JSONDecoder().decode(Mode.self, from: Data(request.body.utf8)) else {
                return (400, "{}")
            }
            state.withLock {
                $0.isOn = mode.enabled
                $0.everOn = $0.everOn || mode.enabled
            }
            return (200, "{}")
        case ("GET", Self.maintenance): return (200, "{\"enabled\":\(isOn)}")
        default: return (404, "{}")
        }
    }

    private static func read(_ connection: Int32) -> Request? {
        var bytes = Data()
        var buffer = [UInt8](repeating: 0, count: 4096)
        while bytes.count < 1 << 20 {
            let count = recv(connection, &buffer, buffer.count, 0)
            guard count > 0 else { return nil }
            bytes.append(contentsOf: buffer[..<count])
            guard let end = bytes.firstRange(of: Data("\r\n\r\n".utf8)) else { continue }
            let lines = String(decoding: bytes[..<end.lowerBound], as: UTF8.self).components(separatedBy: "\r\n")
            var headers: [String: String] = [:]
            for line in lines.dropFirst() {
                guard let colon = line.firstIndex(of: ":") else { continue }
                headers[line[..<colon].lowercased()] = line[line.index(after: colon)...].trimmingCharacters(
                    in: .whitespaces)
            }
            let body = bytes[end.upperBound...]
            guard body.count >= Int(headers["content-length"] ?? "0") ?? 0 else { continue }
            let words = (lines.first ?? "").split(separator: " ").map(String.init)
            guard words.count == 3 else { return nil }
            return Request(
                method: words[0], path: words[1], headers: headers, body: String(decoding: body, as: UTF8.self))
        }
        return nil
    }

    private static func answer(_ connection: Int32, _ reply: (status: Int, body: String)) {
        let text =
            "HTTP/1.1 \(reply.status) Status\r\nContent-Type: application/json\r\n"
            + "Content-Length: \(reply.body.utf8.count)\r\nConnection: close\r\n\r\n\(reply.body)"
        var rest = ArraySlice(Array(text.utf8))
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Foundation.send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}
