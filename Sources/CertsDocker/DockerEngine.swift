package import CertsCore
package import CertsHTTP
package import Foundation

/// The Engine API of Docker at its Unix socket (docs.docker.com/engine/api/v1.41): no shell, no `docker` program.
package struct DockerEngine: Sendable {
    /// Of the engine, an absolute path.
    package let socket: String
    /// For one reply, where nothing else is said.
    package let reply: Duration
    /// The version of the API in the path of each request.
    package private(set) var version = Self.preferredVersion

    /// What is used was there long before; newer engines refuse versions that are too old.
    private static let preferredVersion = "1.41"
    /// Of one reply, in bytes.
    package static let replyLimit = 1 << 20

    /// The engine at `socket`, spoken to in a version that it knows.
    ///
    /// - Throws: `target.unreachable`: no socket, or nobody listens; `target.refused`: no right to connect;
    ///   `target.timeout`: it does not answer.
    package static func connect(to socket: String, reply: Duration) async throws(CertsError) -> DockerEngine {
        var engine = DockerEngine(socket: socket, reply: reply)
        let answer = try await engine.request(.get, url: "http://docker/version")
        guard answer.isSuccess else { throw DockerFailure.refusal(answer, socket: socket) }
        let known: EngineVersion = try engine.decoded(answer.body)
        let (low, high) = (APIVersion(known.minAPIVersion ?? ""), APIVersion(known.apiVersion))
        guard let high else {
            throw CertsError(
                .targetUnexpectedReply, "\(socket) names no version of the Engine API", subject: socket,
                hint: "check that this is the socket of a Docker Engine")
        }
        var chosen = APIVersion(preferredVersion) ?? high
        if let low { chosen = max(chosen, low) }
        engine.version = min(chosen, high).text
        return engine
    }

    /// Sends a request and returns the body of a successful answer.
    ///
    /// - Parameters:
    ///   - path: encoded here, component by component, so that none can lead elsewhere.
    ///   - deadline: `nil`: that for one reply.
    package func send(
        _ method: HTTPRequest.Method, _ path: [String], query: [(name: String, value: String)] = [], body: Data? = nil,
        deadline: Duration? = nil, limit: Int = Self.replyLimit
    ) async throws(CertsError) -> Data {
        let response = try await answer(method, path, query: query, body: body, deadline: deadline, limit: limit)
        guard response.isSuccess else { throw DockerFailure.refusal(response, socket: socket) }
        return response.body
    }

    /// The same with whatever the engine answered, for callers to whom a refusal says something (404, 409).
    package func answer(
        _ method: HTTPRequest.Method, _ path: [String], query: [(name: String, value: String)] = [], body: Data? = nil,
        deadline: Duration? = nil, limit: Int = Self.replyLimit
    ) async throws(CertsError) -> HTTPResponse {
        var url = "http://docker/v\(version)"
        for component in path { url += "/" + Self.encoded(component) }
        for (index, item) in query.enumerated() {
            url += "\(index == 0 ? "?" : "&")\(Self.encoded(item.name))=\(Self.encoded(item.value))"
        }
        return try await request(method, url: url, body: body, deadline: deadline, limit: limit)
    }

    /// The same, with the answer decoded.
    package func fetch<Value: Decodable & Sendable>(
        _ method: HTTPRequest.Method, _ path: [String], query: [(name: String, value: String)] = [], body: Data? = nil,
        limit: Int = Self.replyLimit
    ) async throws(CertsError) -> Value {
        try decoded(try await send(method, path, query: query, body: body, limit: limit))
    }

    package func decoded<Value: Decodable>(_ body: Data) throws(CertsError) -> Value {
        do {
            return try JSONDecoder().decode(Value.self, from: body)
        } catch {
            throw CertsError(
                .targetUnexpectedReply, "the answer of \(socket) is not one of a Docker Engine", subject: socket,
                hint: "check that this is the socket of a Docker Engine", cause: error)
        }
    }

    private func request(
        _ method: HTTPRequest.Method, url: String, body: Data? = nil, deadline: Duration? = nil,
        limit: Int = Self.replyLimit
    ) async throws(CertsError) -> HTTPResponse {
        let deadline = deadline ?? reply
        let request = HTTPRequest(
            method, url, headers: body == nil ? [] : [("Content-Type", "application/json")], body: body,
            unixSocket: socket,
            // A validation is silent while it loads: only the deadline counts.
            limits: .init(deadline: deadline, idle: deadline, body: limit))
        let begin = ContinuousClock.now
        do {
            return try await HTTPClient().send(request)
        } catch {
            // libcurl's own timer may be a little ahead of ours.
            let isLate = ContinuousClock.now - begin >= deadline - .milliseconds(50)
            throw DockerFailure.noAnswer(error, socket: socket, deadline: isLate ? deadline : nil)
        }
    }

    /// Percent-encodes all but the unreserved characters (RFC 3986 §2.3).
    private static func encoded(_ text: String) -> String {
        var result = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."),
                UInt8(ascii: "~"):
                result.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                result += "%" + Hex.encode([byte])
            }
        }
        return result
    }
}

/// `1.41`: compared by its numbers.
private struct APIVersion: Comparable {
    let major: Int
    let minor: Int

    init?(_ text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let major = UInt16(parts[0]), let minor = UInt16(parts[1]) else { return nil }
        (self.major, self.minor) = (Int(major), Int(minor))
    }

    var text: String { "\(major).\(minor)" }

    static func < (left: APIVersion, right: APIVersion) -> Bool {
        (left.major, left.minor) < (right.major, right.minor)
    }
}
