import CertsCore
import CertsHTTP
import Foundation

/// `POST {"action": "present"|"remove", "name": …, "value": …}` to an `https` URL of the user.
struct WebhookWriter: DNSRecordWriter {
    let url: String
    let tokenFile: String?
    let caFile: String?
    var limits = HTTPRequest.Limits(deadline: .seconds(30), idle: .seconds(10), body: 64 << 10)

    func add(_ value: String, at name: String) async throws { try await post("present", name, value) }
    func remove(_ value: String, at name: String) async throws { try await post("remove", name, value) }

    private struct Order: Encodable {
        var action: String
        var name: String
        var value: String
    }

    private func post(_ action: String, _ name: String, _ value: String) async throws {
        guard url.lowercased().hasPrefix("https://") else {
            throw CertsError(
                .configurationInvalid, "the webhook does not begin with https://", hint: "write its URL with https")
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let body = try encoder.encode(Order(action: action, name: name, value: value))
        var headers = [("Content-Type", "application/json"), ("Accept", "application/json")]
        if let tokenFile {
            let secret = try await BlockingPool.shared.run {
                try SecretFile.read(tokenFile, what: "the token of the webhook")
            }
            headers.append(("Authorization", "Bearer \(secret.withBytes { String(decoding: $0, as: UTF8.self) })"))
        }
        var request = HTTPRequest(.post, url, headers: headers, body: body, limits: limits)
        request.hidesPath = true
        let response = try await HTTPClient(caFile: caFile).send(request)
        guard !response.isSuccess else { return }
        let words = TerminalText.sanitized(String(decoding: response.body.prefix(1024), as: UTF8.self), limit: 300)
        throw CertsError(
            .challengeFailed,
            "the webhook answered \(response.status) to '\(action)' of \(TerminalText.sanitized(name, limit: 300))"
                + (words.isEmpty ? "" : ": \(words)"),
            subject: name, hint: Self.hint(response.status), retry: .later)
    }

    private static func hint(_ status: Int) -> String {
        switch status {
        case 300..<400: "name the URL that it redirects to: redirects are not followed"
        case 401, 403: "check the token file of the webhook"
        case 404: "check the URL of the webhook"
        default: "look into the log of the webhook"
        }
    }
}
