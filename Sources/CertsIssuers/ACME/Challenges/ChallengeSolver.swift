import CertsCore
import CertsCrypto
import Foundation

/// What a CA wants to see, and where: everything that is needed to show it and to take it away again, also by another
/// process after a crash.
struct ChallengeProof: Sendable, Hashable, Codable {
    var type: ChallengeType
    /// A DNS name without `*.`, or an IP address.
    var identifier: AlternativeName
    /// Whether the authorization is for `*.identifier`.
    var isWildcard: Bool
    /// From the CA: base64url characters only, which ``init(type:identifier:isWildcard:token:keyAuthorization:accountURL:)``
    /// checks; empty for `dns-persist-01`.
    var token: String
    /// `token.thumbprint` (RFC 8555 §8.1).
    var keyAuthorization: String
    var accountURL: String
    /// `dns-persist-01`: the names by which the CA knows itself; one of them goes into the record.
    var issuerDomains: [String] = []
    /// Where the record is, once that was found out: an alias may lead elsewhere by the time it is taken away.
    var recordName: String?

    /// SHA-256 of the key authorization: what `dns-01` and `tls-alpn-01` show.
    var digest: Data { Digest.sha256.data(of: Data(keyAuthorization.utf8)) }
}

/// Shows the proofs of one type of challenge. One value serves all orders of an issuer, side by side.
protocol ChallengeSolver: Sendable {
    var type: ChallengeType { get }

    /// Whether this solver is meant for the name (the declaration's `names`).
    func isMeant(for identifier: AlternativeName, isWildcard: Bool) -> Bool

    /// The proof with what has to be known of its place before it is shown.
    func located(_ proof: ChallengeProof) async throws -> ChallengeProof

    /// Shows the proof. Doing it twice is the same as doing it once.
    func present(_ proof: ChallengeProof) async throws

    /// Looks from the outside path, as the CA will, until the proof is seen.
    /// - Throws: `issuer.challengeFailed` with what was seen instead, and a remedy.
    func check(_ proof: ChallengeProof) async throws

    /// Takes the proof away; what is not there any longer is no error.
    func remove(_ proof: ChallengeProof) async throws
}

extension ChallengeSolver {
    func located(_ proof: ChallengeProof) async throws -> ChallengeProof { proof }
}
