import CertsCore
import CertsCrypto
import Foundation

/// Where proofs of other processes are found: equal for all values over the same directory object.
enum ProofSource: Hashable, Sendable {
    case object(ObjectIdentifier)
    case value(UUID)
}

/// The proofs of one type as files in the state directory, so that whichever process of ours owns the port answers for all
/// of them: a service and a rotation by hand at once.
///
/// A file's name is the digest of what a client asks for, so nothing from outside becomes a path.
struct SharedProofs: Sendable {
    private let files: any IssuerFiles
    private let type: ChallengeType
    let identity: ProofSource

    init(_ type: ChallengeType, files: any IssuerFiles) {
        self.files = files
        self.type = type
        // The address of a value that is boxed for the question would mean nothing.
        identity = Swift.type(of: files) is AnyClass ? .object(ObjectIdentifier(files as AnyObject)) : .value(UUID())
    }

    func read(_ key: String) async throws -> Secret? {
        try await files.read(Self.file(key), of: Name(type.rawValue), in: .challenges)
    }

    func write(_ contents: Secret, for key: String) async throws {
        try await files.write(contents, to: Self.file(key), of: Name(type.rawValue), in: .challenges)
    }

    func remove(_ key: String) async throws {
        try await files.remove(Self.file(key), of: Name(type.rawValue), in: .challenges)
    }

    private static func file(_ key: String) -> String { Hex.encode(Digest.sha256.data(of: Data(key.utf8))) }
}
