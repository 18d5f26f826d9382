import CertsCore
import CertsHTTP
import Foundation

/// Asks for a proof from outside, as a CA would (RFC 8555 §8.3, CA/Browser Forum BR 3.2.2.4.19): over plain HTTP on port
/// 80, with at most ten redirects to port 80 or 443 and no look at certificates.
struct HTTP01Check: Sendable {
    private let outside: OutsideLook
    private var selfCheck: SelfCheck { outside.selfCheck }
    private let client = HTTPClient(userAgent: "certs (self-check of http-01)")

    static let maximumRedirects = 10
    /// A key authorization has some 90 bytes; what is more is a page of somebody else.
    private static let maximumBody = 64 << 10

    init(_ selfCheck: SelfCheck, isElsewhere: @escaping @Sendable () -> SocketAddress? = { nil }) {
        outside = OutsideLook(selfCheck: selfCheck, isElsewhere: isElsewhere)
    }

    /// Looks until the proof is seen.
    /// - Throws: as ``OutsideLook``.
    func run(_ proof: ChallengeProof) async throws {
        try await outside(for: proof) { try await look(for: proof, within: $0) }
    }

    private func look(for proof: ChallengeProof, within seconds: TimeInterval) async throws {
        let clock = ContinuousClock()
        let end = clock.now + .seconds(seconds)
        var url = try firstURL(proof)
        for _ in 0...Self.maximumRedirects {
            let left = max(.milliseconds(100), end - clock.now)
            let response = try await answer(from: url, proof, deadline: left)
            guard [301, 302, 303, 307, 308].contains(response.status) else {
                return try judge(response, proof, url)
            }
            url = try target(of: response, from: url)
        }
        throw ProofMiss(
            what: "more than \(Self.maximumRedirects) redirects", remedy: "leave the path out of the redirects")
    }

    private func firstURL(_ proof: ChallengeProof) throws -> URL {
        var parts = URLComponents()
        parts.scheme = "http"
        parts.host = host(of: proof)
        parts.port = selfCheck.port
        parts.path = ChallengeToken.pathPrefix + (try ChallengeToken.validated(proof.token))
        guard let url = parts.url else {
            throw ProofMiss(what: "'\(proof.identifier.value)' cannot stand in a URL", remedy: "check the name")
        }
        return url
    }

    private func host(of proof: ChallengeProof) -> String {
        if case .ip(let address) = proof.identifier, address.isIPv6 { return "[\(address)]" }
        return proof.identifier.value
    }

    private func answer(from url: URL, _ proof: ChallengeProof, deadline: Duration) async throws -> HTTPResponse {
        var request = HTTPRequest(
            .get, url.absoluteString,
            limits: .init(
                deadline: deadline, idle: min(deadline, .seconds(10)), body: Self.maximumBody, header: 16 << 10))
        request.acceptsAnyCertificate = true
        request.connectTo = place(of: url, proof)
        do throws(CertsError) {
            return try await client.send(request)
        } catch {
            let port = selfCheck.port ?? 80
            throw ProofMiss(
                what: error.message,
                remedy:
                    "\(error.hint ?? "check the way there"); the CA comes to port \(port) of each address of the name")
        }
    }

    /// The configured address stands for the host of the identifier: with its own port for plain HTTP, wherever a redirect
    /// to HTTPS leads otherwise.
    private func place(of url: URL, _ proof: ChallengeProof) -> (host: String, port: Int)? {
        guard let address = selfCheck.address, url.host() == host(of: proof) || url.host() == proof.identifier.value
        else { return nil }
        return (address.address.description, url.scheme == "http" ? address.port : url.port ?? 443)
    }

    private func target(of response: HTTPResponse, from url: URL) throws -> URL {
        let location = response.headers["Location"] ?? ""
        let shown = TerminalText.sanitized(location, limit: 200)
        guard let target = URL(string: location, relativeTo: url)?.absoluteURL,
            let scheme = target.scheme?.lowercased(), ["http", "https"].contains(scheme), target.host() != nil,
            target.user() == nil
        else {
            throw ProofMiss(
                what: "status \(response.status) with a redirect to '\(shown)', which no CA follows",
                remedy: "leave the path out of the redirects")
        }
        let port = target.port ?? (scheme == "https" ? 443 : 80)
        guard [80, 443].contains(port) || port == selfCheck.port else {
            throw ProofMiss(
                what: "a redirect to port \(port) ('\(shown)'); a CA follows only to 80 and 443",
                remedy: "redirect to one of those ports, or leave the path out of the redirects")
        }
        return target
    }

    private func judge(_ response: HTTPResponse, _ proof: ChallengeProof, _ url: URL) throws {
        let body = String(decoding: response.body.prefix(1024), as: UTF8.self)
        // RFC 8555 §8.3: white space at the end does not count.
        let text = body.trimmingCharacters(in: .whitespacesAndNewlines)
        if response.status == 200, text == proof.keyAuthorization { return }
        let shown = TerminalText.sanitized(String(text.prefix(100)), limit: 200)
        let what = "\(url.absoluteString) answers with status \(response.status) and '\(shown)'"
        throw ProofMiss(what: what, remedy: remedy(response.status))
    }

    private func remedy(_ status: Int) -> String {
        switch status {
        case 200..<300:
            "something else answers there: let \(ChallengeToken.pathPrefix) of port 80 through to `certs`"
        case 502, 503, 504:
            "HAProxy or a proxy does not reach `certs`: compare its address with `listen` of the challenge"
        case 401, 403: "let the path \(ChallengeToken.pathPrefix) through without a login"
        default:
            "route \(ChallengeToken.pathPrefix) of port 80 to `certs`; "
                + "`certs acme haproxy-rules ISSUER` prints the rules for HAProxy"
        }
    }
}
