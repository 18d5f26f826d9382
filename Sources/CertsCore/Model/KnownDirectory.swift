/// The CAs that the configuration knows by a word: where their ACME directory is, and what they allow.
package enum KnownDirectory: String, Sendable, Hashable, CaseIterable {
    case letsEncrypt = "letsencrypt"
    /// For trying out: wide limits, and certificates that nobody trusts.
    case letsEncryptStaging = "letsencrypt-staging"
    case zeroSSL = "zerossl"
    case google
    case googleStaging = "google-staging"
    case sslcomRSA = "sslcom-rsa"
    case sslcomECC = "sslcom-ecc"
    case actalis

    /// The URL of the directory resource (RFC 8555 §7.1.1).
    package var url: String {
        switch self {
        case .letsEncrypt: "https://acme-v02.api.letsencrypt.org/directory"
        case .letsEncryptStaging: "https://acme-staging-v02.api.letsencrypt.org/directory"
        case .zeroSSL: "https://acme.zerossl.com/v2/DV90"
        case .google: "https://dv.acme-v02.api.pki.goog/directory"
        case .googleStaging: "https://dv.acme-v02.test-api.pki.goog/directory"
        case .sslcomRSA: "https://acme.ssl.com/sslcom-dv-rsa"
        case .sslcomECC: "https://acme.ssl.com/sslcom-dv-ecc"
        case .actalis: "https://acme-api.actalis.com/acme/directory"
        }
    }

    /// The CA behind a directory; `nil`: none that we know.
    package init?(url: String) {
        guard let known = Self.allCases.first(where: { $0.url == url }) else { return nil }
        self = known
    }

    package var isLetsEncrypt: Bool { self == .letsEncrypt || self == .letsEncryptStaging }

    /// What the CA has published; those of the others are not known, and their `Retry-After` is obeyed.
    package var limits: IssuanceLimits { self == .letsEncrypt ? .letsEncrypt : .none }
}
