package import CertsCore
import CertsHTTP
import Foundation

/// Silences of an Alertmanager (API v2). One ends by itself with its window, also when nobody is left to end it.
package struct Silences: Sendable {
    private let alertmanager: AlertmanagerDeclaration
    private let client: HTTPClient

    package init(_ alertmanager: AlertmanagerDeclaration) {
        self.alertmanager = alertmanager
        client = HTTPClient(caFile: alertmanager.caFile)
    }

    private struct Silence: Encodable {
        struct Matcher: Encodable {
            let name: String
            let value: String
            let isRegex = false
            let isEqual = true
        }
        let matchers: [Matcher]
        let startsAt: String
        let endsAt: String
        let createdBy: String
        let comment: String
    }

    private struct Made: Decodable {
        let silenceID: String
    }

    /// Silences the declared alerts until the end of the window.
    ///
    /// - Returns: its id.
    /// - Throws: `admin.failed`.
    package func begin(_ window: WindowRecord) async throws -> String {
        let format = Date.ISO8601FormatStyle()
        let silence = Silence(
            matchers: alertmanager.matchers.sorted { $0.key < $1.key }.map { .init(name: $0.key, value: $0.value) },
            startsAt: format.format(window.openedAt), endsAt: format.format(window.endsAt),
            createdBy: window.openedBy, comment: "maintenance window \(window.id)")
        let response = try await send(.post, "/api/v2/silences", body: try JSONEncoder().encode(silence))
        guard let made = try? JSONDecoder().decode(Made.self, from: response.body), Self.isID(made.silenceID) else {
            throw CertsError(
                .adminFailed, "the Alertmanager \(alertmanager.url) did not name its silence",
                hint: "check `url` under `alertmanager:`")
        }
        return made.silenceID
    }

    /// Ends it before its time.
    ///
    /// - Throws: `admin.failed`.
    package func end(_ id: String) async throws {
        guard Self.isID(id) else { return }
        _ = try await send(.delete, "/api/v2/silence/\(id)", body: nil)
    }

    /// A UUID; it becomes a part of an address.
    private static func isID(_ text: String) -> Bool { UUID(uuidString: text) != nil }

    private func send(_ method: HTTPRequest.Method, _ path: String, body: Data?) async throws -> HTTPResponse {
        let headers = body == nil ? [] : [("Content-Type", "application/json")]
        let response: HTTPResponse
        do {
            response = try await client.send(
                HTTPRequest(
                    method, alertmanager.url + path, headers: headers, body: body,
                    limits: .init(deadline: .seconds(10), body: 64 << 10)))
        } catch {
            throw CertsError(
                .adminFailed, "the Alertmanager was not reached: \(error.message)", subject: alertmanager.url,
                hint: error.hint, retry: .later)
        }
        guard response.isSuccess else {
            throw CertsError(
                .adminFailed, "the Alertmanager \(alertmanager.url) answered \(response.status)",
                subject: alertmanager.url, hint: "look into its log", retry: .later)
        }
        return response
    }
}
