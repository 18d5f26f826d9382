import CertsCore
import CertsCrypto
import Foundation

/// A problem document (RFC 7807, RFC 8555 §6.7): why the server did not do what it was asked.
///
/// Everything in it is text from outside: it is matched by ``kind`` and shown by ``text``, which is safe to print.
struct Problem: Sendable, Hashable, Decodable {
    var type: String?
    var detail: String?
    var instance: String?
    var subproblems: [Subproblem] = []

    struct Subproblem: Sendable, Hashable, Decodable {
        var type: String?
        var detail: String?
        var identifier: Identifier?
    }

    enum CodingKeys: String, CodingKey { case type, detail, instance, subproblems }

    init(type: String?, detail: String?) {
        self.type = type
        self.detail = detail
    }

    /// Takes what is of the right type and leaves out the rest: a problem with a strange member is still a problem.
    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        type = try? container.decode(String.self, forKey: .type)
        detail = try? container.decode(String.self, forKey: .detail)
        instance = try? container.decode(String.self, forKey: .instance)
        subproblems = (try? container.decode([Subproblem].self, forKey: .subproblems)) ?? []
    }

    /// The problem in a response; one without a problem document (a proxy's HTML page) has no type.
    init(_ response: HTTPReply) {
        if let problem = try? ProtocolJSON.decode(Problem.self, from: response.body) {
            self = problem
        } else {
            self.init(type: nil, detail: response.body.isEmpty ? nil : response.shownBody)
        }
    }

    /// What the type says, without the namespace of RFC 8555 §6.7.
    var kind: Kind {
        let prefix = "urn:ietf:params:acme:error:"
        guard let type, type.hasPrefix(prefix) else { return .unknown }
        return Kind(rawValue: String(type.dropFirst(prefix.count))) ?? .unknown
    }

    enum Kind: String, Sendable {
        case accountDoesNotExist, agreementRequired, alreadyReplaced, alreadyRevoked, badCSR, badNonce, badPublicKey
        case badRevocationReason, badSignatureAlgorithm, caa, connection, dns, externalAccountRequired
        case incorrectResponse, invalidContact, invalidProfile, malformed, orderNotReady, rateLimited
        case rejectedIdentifier, serverInternal, tls, unauthorized, unsupportedContact, unsupportedIdentifier
        case userActionRequired
        /// Any other, or none.
        case unknown
    }

    /// For people: the kind, what the CA says, and the names that it says it of.
    var text: String {
        let word = kind == .unknown ? "" : "\(kind.rawValue): "
        var text = word + (detail ?? "no reason was given")
        for sub in subproblems.prefix(20) {
            text += "; \(sub.identifier.map { "\($0.value): " } ?? "")\(sub.detail ?? sub.type ?? "")"
        }
        return TerminalText.sanitized(text, limit: 1000)
    }
}

extension Problem.Kind {
    /// What kind of trouble it is, and so what helps (RFC 8555 §6.7; the four kinds decide the retry).
    enum Class: Sendable {
        /// The same request fails again until the configuration changes.
        case permanent
        /// The CA looked and did not find what it asked for.
        case validation
        case limited
        case transient
    }

    var `class`: Class {
        switch self {
        case .connection, .dns, .incorrectResponse, .tls: .validation
        case .rateLimited: .limited
        case .serverInternal, .badNonce, .orderNotReady, .unknown: .transient
        default: .permanent
        }
    }
}

/// A request that the server answered with an error.
struct ACMEFailure: Error, Sendable {
    var problem: Problem
    var status: Int
    /// From `Retry-After`, within a second and a day.
    var retryAt: Date?
    /// What was asked for, without its query.
    var url: String
    /// Where the terms of service are, from the `Link` of RFC 8555 §7.3.3.
    var termsURL: String?

    var kind: Problem.Kind { problem.kind }

    /// Whether too much was asked for; some servers say it by the status alone.
    var isLimit: Bool { kind == .rateLimited || status == 429 }

    /// Whether an account or key that the CA does not take (any longer) may be the reason: servers say it in different words.
    var mayBeAboutAccount: Bool {
        switch kind {
        case .accountDoesNotExist, .unauthorized, .malformed: true
        default: false
        }
    }

    /// Whether the CA takes no such key: then it is nobody's account.
    var isAboutKey: Bool { kind == .badPublicKey || kind == .badSignatureAlgorithm }

    /// Of a limit: what it is about. A limit that speaks of these names, or of their domain, holds for them; any other one
    /// (of accounts, of orders, of an address) holds for all.
    func limitedNames(among names: [AlternativeName]) -> [AlternativeName]? {
        guard problem.subproblems.allSatisfy({ $0.identifier == nil }) else { return names }
        let text = (problem.detail ?? "").lowercased()
        if text.contains("exact set") { return names }
        let parts = text.split { " ,;()[]\"'".contains($0) }
        let words = Set(parts.map { $0.trimmingCharacters(in: Self.punctuation) })
        for name in names {
            let value = name.value.lowercased()
            let host = value.hasPrefix("*.") ? String(value.dropFirst(2)) : value
            var subjects = [host]
            if case .dns = name { subjects.append(RegisteredDomain.of(host)) }
            if !words.isDisjoint(with: subjects) { return names }
        }
        return nil
    }

    private static let punctuation = CharacterSet(charactersIn: ".:*")

    /// The same as the product's error. `issuer` is its subject.
    func certsError(_ issuer: Name) -> CertsError {
        let retry = retryAt.map { CertsError.Retry.after($0) }
        func error(_ code: CertsError.Code, _ hint: String, _ fallback: CertsError.Retry) -> CertsError {
            let kept = fallback == .never ? .never : retry ?? fallback
            return CertsError(
                code, "the CA refuses \(url) (\(status)): \(problem.text)", subject: issuer.rawValue, hint: hint,
                retry: kept)
        }
        switch kind {
        case .userActionRequired, .agreementRequired:
            let place = termsURL ?? problem.instance ?? "its site"
            return error(
                .termsNotAccepted,
                "read \(TerminalText.sanitized(place, limit: 300)), then run `certs acme account \(issuer) update --accept-terms`",
                .never)
        case .rateLimited:
            return error(
                .issuerLimited, "wait, or ask for fewer certificates; `certs status` tells when it goes on", .later)
        case .externalAccountRequired:
            return error(
                .issuerRefused, "get a key ID and a MAC key from the CA and write them as `externalAccount:`", .never)
        case .invalidProfile:
            return error(.issuerRefused, "`certs acme directory \(issuer)` lists the profiles of the CA", .never)
        case .caa:
            return error(.issuerRefused, "let a CAA record allow this CA, or remove the one that forbids it", .never)
        case .accountDoesNotExist:
            return error(
                .issuerRefused, "look at `certs acme account \(issuer)`; create the account again if it is gone", .later
            )
        case .invalidContact, .unsupportedContact:
            return error(.issuerRefused, "correct `contact:` of the issuer", .never)
        default: break
        }
        switch kind.class {
        case .permanent:
            return error(.issuerRefused, "correct what the CA complains about, then rotate again", .never)
        case .validation:
            return error(.challengeFailed, "`certs check --live` looks at the path of the challenge", .later)
        case .limited, .transient:
            return error(
                status == 429 ? .issuerLimited : .issuerUnavailable,
                "nothing is to be done but wait; if it stays so, look at the CA's status page", .later)
        }
    }
}
