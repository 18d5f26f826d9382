package import CertsCore
import CertsHTTP
import Foundation

/// The admin API of the service. A call has worked when the answer is 2xx, and only then.
package struct AdminClient: Sendable {
    private let admin: AdminDeclaration
    private let token: @Sendable () throws -> Secret
    private let client: HTTPClient

    /// How often a call is made, and the pause before the second time (doubled for the third).
    private static let attempts = 3
    private static let pause: Duration = .milliseconds(500)

    /// - Parameter token: read for each call, so that it can be changed while the service runs.
    package init(_ admin: AdminDeclaration, token: @escaping @Sendable () throws -> Secret) {
        self.admin = admin
        self.token = token
        client = HTTPClient(caFile: admin.caFile)
    }

    /// Whether ``mode()`` can tell.
    package var readsMode: Bool { admin.readsMode }

    /// Tells the users.
    ///
    /// - Parameter key: the same for each attempt, so that a service that knows `Idempotency-Key` tells them once.
    /// - Throws: `admin.failed`.
    package func announce(_ message: String, key: String) async throws {
        try await post(
            admin.announcements, Announcement(message: message, severity: admin.severity), key: key, "the announcement")
    }

    /// Switches the maintenance mode.
    ///
    /// - Throws: `admin.failed`; where its `retry` is not `.never`, nobody knows whether the mode was switched.
    package func setMode(_ isOn: Bool, key: String) async throws {
        try await post(
            admin.maintenance, Mode(enabled: isOn, message: isOn ? admin.message : nil), key: key,
            "switching the maintenance mode \(isOn ? "on" : "off")")
    }

    /// Whether the mode is on; `nil`: the API is not declared to tell.
    ///
    /// - Throws: `admin.failed`.
    package func mode() async throws -> Bool? {
        guard admin.readsMode else { return nil }
        let what = "reading the maintenance mode"
        return try await repeated {
            let response = try await send(.get, admin.maintenance, body: nil, key: nil, what)
            guard let mode = try? JSONDecoder().decode(State.self, from: response.body) else {
                throw CertsError(
                    .adminFailed, "\(what): the answer has no 'enabled'", subject: admin.url,
                    hint: "leave `readMode` out where GET does not tell")
            }
            return mode.enabled
        }
    }

    private struct Announcement: Encodable {
        let message: String
        let severity: String
    }

    private struct Mode: Encodable {
        let enabled: Bool
        /// Left out when `nil`.
        let message: String?
    }

    private struct State: Decodable {
        let enabled: Bool
    }

    private func post(_ path: String, _ body: some Encodable & Sendable, key: String, _ what: String) async throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let data = try encoder.encode(body)
        _ = try await repeated { try await send(.post, path, body: data, key: key, what) }
    }

    /// Again where that can help; the last error is told.
    private func repeated<Value>(_ body: () async throws -> Value) async throws -> Value {
        var pause = Self.pause
        for attempt in 1... {
            do {
                return try await body()
            } catch let error as CertsError where error.retry != .never && attempt < Self.attempts {
                // Switching off goes on when the task is cancelled: the pause just gets short.
                try? await Task.sleep(for: pause)
                pause *= 2
            }
        }
        throw CancellationError()
    }

    private func send(_ method: HTTPRequest.Method, _ path: String, body: Data?, key: String?, _ what: String)
        async throws -> HTTPResponse
    {
        let secret = try await BlockingPool.shared.run(token)
        let value = secret.withBytes { String(decoding: $0, as: UTF8.self) }
        var headers = [("Authorization", "Bearer \(value)"), ("Accept", "application/json")]
        if body != nil { headers.append(("Content-Type", "application/json")) }
        if let key { headers.append(("Idempotency-Key", key)) }
        let limit = Duration.seconds(admin.timeout)
        let request = HTTPRequest(
            method, admin.url + path, headers: headers, body: body,
            limits: .init(deadline: limit, idle: limit, body: 64 << 10))
        let response: HTTPResponse
        do {
            response = try await client.send(request)
        } catch {
            throw CertsError(
                .adminFailed, "\(what) failed: \(error.message)", subject: admin.url, hint: error.hint, retry: .later)
        }
        guard response.isSuccess else {
            // 408 Request Timeout and 429 Too Many Requests (RFC 9110 §15.5.9, RFC 6585 §4) may pass, as 5xx may.
            let mayPass = response.status >= 500 || [408, 429].contains(response.status)
            throw CertsError(
                .adminFailed, "\(what) failed: \(admin.url)\(path) answered \(response.status)", subject: admin.url,
                hint: Self.hint(response.status), retry: mayPass ? .later : .never)
        }
        return response
    }

    private static func hint(_ status: Int) -> String {
        switch status {
        case 300..<400: "name the address that it redirects to: redirects are not followed"
        case 401, 403: "check the token in `tokenFile`, and its rights"
        case 404, 405: "check `announcements` and `maintenance` under `admin:`"
        default: "look into the log of the service"
        }
    }
}
