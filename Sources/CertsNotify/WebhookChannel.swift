package import CertsCore
import CertsCrypto
import CertsHTTP
import Foundation

/// `POST` of the message as JSON, signed when there is a secret.
///
/// `Certs-Signature: v1=` and the HMAC-SHA256 (RFC 2104), in lower-case hexadecimal, of the value of `Certs-Timestamp`, a
/// dot and the body. A receiver that refuses old timestamps cannot be fooled by a recorded message.
package struct WebhookChannel: NotificationChannel {
    let name: Name
    let url: String
    let caFile: String?
    /// Read for each message, so that it can be changed while the service runs.
    let secret: (@Sendable () throws -> Secret)?
    /// Of the request; the answer is not read further than this.
    var limits = HTTPRequest.Limits(deadline: .seconds(10), idle: .seconds(5), body: 64 << 10)
    var now: @Sendable () -> Date = { Date() }

    package init(name: Name, url: String, caFile: String? = nil, secret: (@Sendable () throws -> Secret)? = nil) {
        self.name = name
        self.url = url
        self.caFile = caFile
        self.secret = secret
    }

    package func send(_ message: NotificationMessage) async throws {
        guard Self.isAllowed(url) else {
            throw CertsError(
                .configurationInvalid, "the url of the channel \(name) is neither https nor on this host",
                hint: "write an https address")
        }
        let body = try MessageJSON.encode(message)
        var headers = [("Content-Type", "application/json"), ("Certs-Message", message.id)]
        if let secret {
            let key = try await BlockingPool.shared.run(secret)
            let timestamp = String(Int64(now().timeIntervalSince1970))
            headers.append(("Certs-Timestamp", timestamp))
            headers.append(("Certs-Signature", try Self.signature(timestamp, body, key)))
        }
        let response: HTTPResponse
        do {
            var request = HTTPRequest(.post, url, headers: headers, body: body, limits: limits)
            request.hidesPath = true
            response = try await HTTPClient(caFile: caFile).send(request)
        } catch {
            throw CertsError(
                .notificationFailed, "the webhook of \(name) could not be reached: \(error.message)",
                subject: name.rawValue, hint: error.hint, retry: .later)
        }
        guard !response.isSuccess else { return }
        throw CertsError(
            .notificationFailed, "the webhook of \(name) answered \(response.status)", subject: name.rawValue,
            hint: Self.hint(response.status), retry: .later)
    }

    static func signature(_ timestamp: String, _ body: Data, _ key: Secret) throws -> String {
        let signed = Data("\(timestamp).".utf8) + body
        return "v1=" + Hex.encode(try MessageAuthentication.sha256.code(of: signed, key: key))
    }

    /// `https` anywhere, `http` only to this host.
    package static func isAllowed(_ url: String) -> Bool {
        guard let parts = URLComponents(string: url), let scheme = parts.scheme?.lowercased(), var host = parts.host
        else { return false }
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        return scheme == "https" || (scheme == "http" && Loopback.contains(host))
    }

    private static func hint(_ status: Int) -> String {
        switch status {
        case 300..<400: "name the URL that it redirects to: redirects are not followed"
        case 401, 403: "check that both sides have the same secret, and that the clocks agree"
        case 404, 410: "check the URL of the channel"
        default: "look into the log of the receiver"
        }
    }
}
