import CertsCore
import CertsHTTP
import Foundation

/// Asks registries which digest a name has (OCI Distribution Specification, "Pulling manifests"). By HEAD: that counts as
/// no pull. Tokens are those that a registry gives to everybody; private ones stay unknown.
struct Registry: Sendable {
    private let client = HTTPClient()
    private static let limits = HTTPRequest.Limits(deadline: .seconds(20), body: 1 << 20)

    /// An index and a manifest have digests of their own: what the engine has may be either.
    private static let types = [
        "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
    ]

    /// The digest that `reference` means now.
    ///
    /// - Throws: `http`, `job.failed` with the reason in words.
    func digest(of reference: ImageReference) async throws(CertsError) -> String {
        guard let tag = reference.tag else { throw refusal(reference, "it has no tag") }
        let scheme = Self.isOnThisHost(reference.registry) ? "http" : "https"
        let url = "\(scheme)://\(reference.registry)/v2/\(reference.repository)/manifests/\(tag)"
        var response = try await head(url, token: nil)
        if response.status == 401, let challenge = response.headers["www-authenticate"] {
            let token = try await token(challenge, reference)
            response = try await head(url, token: token)
        }
        guard response.status == 200 else { throw refusal(reference, Self.words(response.status)) }
        guard let digest = response.headers["docker-content-digest"], digest.hasPrefix("sha256:") else {
            throw refusal(reference, "the registry tells no digest")
        }
        return digest
    }

    private func head(_ url: String, token: Secret?) async throws(CertsError) -> HTTPResponse {
        var headers = [(name: "Accept", value: Self.types.joined(separator: ", "))]
        if let token {
            headers.append(("Authorization", "Bearer " + token.withBytes { String(decoding: $0, as: UTF8.self) }))
        }
        return try await client.send(HTTPRequest(.head, url, headers: headers, limits: Self.limits))
    }

    /// The token that the realm gives without a login (Docker Registry token specification).
    private func token(_ challenge: String, _ reference: ImageReference) async throws(CertsError) -> Secret {
        let fields = Self.fields(of: challenge)
        guard challenge.lowercased().hasPrefix("bearer "), let realm = fields["realm"],
            let host = URL(string: realm)?.host
        else { throw refusal(reference, "the registry asks for a login") }
        // The token would be for whoever reads the line.
        guard realm.hasPrefix("https://") || realm.hasPrefix("http://") && Self.isOnThisHost(host) else {
            throw refusal(reference, "its tokens come over plain HTTP")
        }
        var parts = URLComponents(string: realm)
        var query = parts?.queryItems ?? []
        query.append(.init(name: "scope", value: fields["scope"] ?? "repository:\(reference.repository):pull"))
        if let service = fields["service"] { query.append(.init(name: "service", value: service)) }
        parts?.queryItems = query
        guard let url = parts?.string else { throw refusal(reference, "the registry names no place for tokens") }
        let response = try await client.send(HTTPRequest(.get, url, limits: Self.limits))
        guard response.isSuccess,
            let answer = try? JSONDecoder().decode([String: TokenField].self, from: response.body),
            let token = answer["token"]?.text ?? answer["access_token"]?.text
        else { throw refusal(reference, "the registry gives tokens only to those who log in") }
        return Secret(copying: token.utf8)
    }

    /// A field of the answer: only texts count.
    private struct TokenField: Decodable {
        let text: String?

        init(from decoder: any Decoder) throws { text = try? decoder.singleValueContainer().decode(String.self) }
    }

    /// `Bearer realm="…",service="…"`.
    static func fields(of challenge: String) -> [String: String] {
        var result: [String: String] = [:]
        var rest = challenge.drop { $0 != " " }
        while let equals = rest.firstIndex(of: "=") {
            let name = rest[..<equals].trimmingCharacters(in: CharacterSet(charactersIn: " ,")).lowercased()
            rest = rest[rest.index(after: equals)...]
            guard rest.first == "\"" else { break }
            rest = rest.dropFirst()
            let value = rest.prefix { $0 != "\"" }
            result[name] = String(value)
            rest = rest.dropFirst(value.count + 1)
        }
        return result
    }

    /// As the engine does: a registry at a loopback address needs no TLS.
    static func isOnThisHost(_ registry: String) -> Bool {
        let host =
            registry.hasPrefix("[")
            ? String(registry.dropFirst().prefix { $0 != "]" }) : String(registry.prefix { $0 != ":" })
        return Loopback.contains(host)
    }

    private static func words(_ status: Int) -> String {
        switch status {
        case 401, 403: "the registry asks for a login"
        case 404: "the registry does not know it"
        case 429: "the registry limits requests; try later"
        default: "the registry answers HTTP \(status)"
        }
    }

    private func refusal(_ reference: ImageReference, _ why: String) -> CertsError {
        CertsError(.jobFailed, "\(reference.familiarName): \(why)", subject: reference.familiarName)
    }
}
