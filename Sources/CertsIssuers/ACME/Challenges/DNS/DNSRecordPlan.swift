import CertsCore
import CertsCrypto
import Foundation

/// The TXT record that shows a proof, before aliases are followed.
struct DNSRecordPlan: Sendable, Hashable {
    var name: String
    var value: String

    /// - Throws: `issuer.challengeFailed` for what has no record, like an IP address.
    init(_ proof: ChallengeProof) throws(CertsError) {
        guard case .dns(let domain) = proof.identifier else {
            throw CertsError(
                .challengeFailed, "\(proof.identifier) cannot be shown in the DNS", subject: "\(proof.identifier)",
                hint: "use http-01 or tls-alpn-01 for IP addresses (RFC 8738)")
        }
        switch proof.type {
        case .dnsAccount01:
            name = "_\(Self.accountLabel(proof.accountURL))._acme-challenge.\(domain)"
            value = Base64URL.encode(proof.digest)
        case .dnsPersist01:
            name = "_validation-persist.\(domain)"
            value = try PersistentRecord(proof).text
        case .dns01, .http01, .tlsALPN01:
            name = "_acme-challenge.\(domain)"
            value = Base64URL.encode(proof.digest)
        }
    }

    /// The first ten bytes of SHA-256 of the account's URL, in base32, lower case (draft-ietf-acme-dns-account-label):
    /// several accounts can prove the same name side by side.
    static func accountLabel(_ accountURL: String) -> String {
        let alphabet = Array("abcdefghijklmnopqrstuvwxyz234567")
        var bits = 0
        var count = 0
        var label = ""
        for byte in Digest.sha256.data(of: Data(accountURL.utf8)).prefix(10) {
            bits = bits << 8 | Int(byte)
            count += 8
            while count >= 5 {
                count -= 5
                label.append(alphabet[bits >> count & 31])
            }
            bits &= (1 << count) - 1
        }
        return label
    }
}

/// What stays in the DNS for `dns-persist-01`: who may issue, for which account (draft-ietf-acme-dns-persist §3; the
/// grammar is that of RFC 8659 §4.2).
struct PersistentRecord: Sendable, Hashable {
    var issuer: String
    var account: String
    var coversWildcards: Bool

    /// The record that has to be there for `proof`.
    /// - Throws: `issuer.challengeFailed` if the CA did not say by which name it knows itself.
    init(_ proof: ChallengeProof) throws(CertsError) {
        guard let issuer = proof.issuerDomains.first else {
            throw CertsError(
                .challengeFailed, "the CA names no issuer domain for dns-persist-01 of \(proof.identifier)",
                subject: "\(proof.identifier)", hint: "use dns-01 with this CA")
        }
        self.init(issuer: issuer.lowercased(), account: proof.accountURL, coversWildcards: proof.isWildcard)
        // A value from the CA must not add a parameter of its own.
        guard let read = CAAProperty(parsing: text), read.parameters.count == (coversWildcards ? 2 : 1), !issuer.isEmpty
        else {
            throw CertsError(
                .challengeFailed,
                "'\(TerminalText.sanitized(text, limit: 400))' from the CA cannot stand in a record",
                subject: "\(proof.identifier)", hint: "use dns-01 with this CA")
        }
    }

    private init(issuer: String, account: String, coversWildcards: Bool) {
        self.issuer = issuer
        self.account = account
        self.coversWildcards = coversWildcards
    }

    var text: String { "\(issuer); accounturi=\(account)\(coversWildcards ? "; policy=wildcard" : "")" }

    /// Whether a record that is there already proves what `proof` needs, now.
    static func isSufficient(_ value: String, for proof: ChallengeProof, now: Date) -> Bool {
        guard let property = CAAProperty(parsing: value),
            proof.issuerDomains.contains(where: { $0.lowercased() == property.issuer }),
            property.values(of: "accounturi") == [proof.accountURL]
        else { return false }
        let isWild = property.values(of: "policy").map { $0.lowercased() } == ["wildcard"]
        guard isWild || !proof.isWildcard else { return false }
        guard let end = property.values(of: "persistuntil").first else { return true }
        // Not one that ends while the CA looks.
        return (TimeInterval(end) ?? 0) > now.timeIntervalSince1970 + 3600
    }
}
