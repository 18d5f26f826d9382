import CertsCore
import CertsCrypto
import Foundation

/// The bytes of a file that was live, and how a rollback brings them back.
struct LiveBundle: Sendable {
    let contents: Secret
    let attributes: FileAttributes
    let leaf: Certificate?

    init(_ file: LiveFile) {
        self.init(file.contents, attributes: file.attributes)
    }

    /// - Parameter attributes: `nil`: there is no file to take them from, so it is ours alone.
    init(_ contents: Secret, attributes: FileAttributes?) {
        self.contents = contents
        self.attributes = attributes ?? FileAttributes(mode: 0o600, owner: geteuid(), group: getegid())
        leaf = CanonicalBundle.leaf(of: contents)
    }

    var receipt: PreviousFile {
        .init(digest: ContentDigest.sha256(of: contents), attributes: attributes, leaf: leaf?.fingerprint)
    }
}
