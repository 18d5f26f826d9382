package import CertsCore
import CertsCrypto
package import CertsHTTP
package import Foundation

/// Fetches OCSP responses over HTTP (RFC 6960 appendix A.1).
///
/// Plain HTTP is right here, and the rule: the response is signed, and a responder behind TLS would need a staple of its
/// own. A response that was tampered with is refused like one that is wrong.
package struct OCSPClient: StapleSource {
    private let http: HTTPClient
    private let deadline: Duration

    /// More responders than this are not asked: certificates name one, seldom two.
    static let responderLimit = 4
    /// HAProxy 2.6 serves a staple until so many seconds before its end, and takes a later one without a word.
    static let restBeforeEnd: TimeInterval = 300

    /// - Parameter deadline: for each responder.
    package init(http: HTTPClient = HTTPClient(), deadline: Duration = .seconds(10)) {
        self.http = http
        self.deadline = deadline
    }

    package func staple(for leaf: Data, issuer: Data, responders: [String], now: Date) async throws -> Staple {
        let leaf = try Certificate(der: leaf)
        let issuer = try Certificate(der: issuer)
        let subject = leaf.record.subjectCommonName ?? leaf.record.subject
        guard !responders.isEmpty else {
            throw CertsError(
                .stapleUnavailable, "the certificate names no OCSP responder", subject: subject,
                hint: "switch stapling off for it: its issuer does not offer OCSP")
        }
        let request = try OCSPRequest.make(leaf: leaf, issuer: issuer)
        var failures: [(responder: String, error: CertsError)] = []
        for responder in responders.prefix(Self.responderLimit) {
            try Task.checkCancellation()
            do throws(CertsError) {
                let body = try await ask(responder, request)
                return try Self.staple(
                    from: OCSPStaple(der: body, leaf: leaf, issuer: issuer, now: now), subject, now: now)
            } catch {
                // Signed by the issuer: another responder has no better knowledge, only perhaps older one.
                if error.code == .stapleRevoked { throw error }
                failures.append((responder, error))
            }
        }
        throw Self.failure(failures, subject)
    }

    private func ask(_ responder: String, _ request: Data) async throws(CertsError) -> Data {
        let response = try await http.send(
            HTTPRequest(
                .post, responder,
                headers: [
                    ("Content-Type", "application/ocsp-request"), ("Accept", "application/ocsp-response"),
                ],
                body: request, limits: .init(deadline: deadline, body: OCSPStaple.sizeLimit, header: 16 << 10)))
        guard response.status == 200 else {
            throw CertsError(
                .http, "the responder answers with status \(response.status)",
                hint: "check the address of the responder; redirects are not followed", retry: .later)
        }
        return response.body
    }

    private static func staple(
        from verified: OCSPStaple, _ subject: String, now: Date
    ) throws(CertsError) -> Staple {
        switch verified.status {
        case .good: break
        case .revoked(let date, let reason):
            throw CertsError(
                .stapleRevoked,
                "the certificate was revoked on \(date.formatted(.iso8601))\(reason.map { " (\($0))" } ?? "")",
                subject: subject, hint: "rotate it now, with a new key")
        case .unknown:
            throw CertsError(
                .stapleRefused, "the responder does not know the certificate", subject: subject,
                hint: "right after an issuance this may pass; otherwise ask the issuer", retry: .later)
        }
        guard verified.isLightweight else {
            throw CertsError(
                .stapleRefused,
                "HAProxy does not take the response: it must be about one certificate only, by SHA-1 identifier, "
                    + "and have a next update",
                subject: subject, hint: "ask the issuer for responses as in RFC 5019", retry: .later)
        }
        if let end = verified.nextUpdate, end.timeIntervalSince(now) <= Self.restBeforeEnd {
            throw CertsError(
                .stapleRefused, "the response ends at \(end.formatted(.iso8601)), too soon to be served",
                subject: subject, hint: "the responder hands out old responses; it is asked again", retry: .later)
        }
        return Staple(
            der: verified.der, thisUpdate: verified.thisUpdate, nextUpdate: verified.nextUpdate,
            refreshAt: verified.refreshAt)
    }

    /// One error for all responders: `staple.refused` if any of them gave an answer, however wrong.
    private static func failure(
        _ failures: [(responder: String, error: CertsError)], _ subject: String
    ) -> CertsError {
        let answered = failures.first { $0.error.code != .http }
        let retries = failures.contains { $0.error.retry != .never }
        return CertsError(
            answered == nil ? .stapleUnavailable : .stapleRefused,
            answered == nil ? "no OCSP responder could be reached" : "no OCSP responder gave a response to staple",
            subject: subject, hint: (answered ?? failures.first)?.error.hint,
            details: failures.map { "\($0.responder.prefix(200)): \($0.error.message)" },
            retry: retries ? .later : .never)
    }
}
