import CertsCore
import CertsCrypto
import Foundation

/// Tokens of `http-01` (RFC 8555 §8.3): from the CA, so from outside.
enum ChallengeToken {
    /// Where the CA asks for it.
    static let pathPrefix = "/.well-known/acme-challenge/"
    /// Far more than the 128 bits of entropy that the RFC wants; also what a file name takes.
    static let maximumLength = 200

    /// Only base64url characters, no padding: nothing that means anything in a path, a shell or a header.
    static func isValid(_ token: some StringProtocol) -> Bool {
        token.utf8.count <= maximumLength && Base64URL.isAlphabet(token)
    }

    /// - Throws: `issuer.refused` for a token that is none.
    static func validated(_ token: String) throws(CertsError) -> String {
        guard isValid(token) else {
            throw CertsError(
                .issuerRefused,
                "the CA sent the token '\(TerminalText.sanitized(token, limit: 100))', which is not base64url",
                hint: "check that `directory` names an ACME server; nothing was written")
        }
        return token
    }

    /// The token that a request asks for; `nil`: for something else.
    static func requested(by path: String) -> String? {
        guard path.hasPrefix(pathPrefix) else { return nil }
        let token = path.dropFirst(pathPrefix.count)
        return isValid(token) ? String(token) : nil
    }
}
