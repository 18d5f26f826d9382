import CertsCore
import CertsCrypto
import Foundation

/// The bytes of a bundle that was live, and how a rollback brings them back.
struct LiveBundle: Sendable {
    let contents: Secret
    let attributes: FileAttributes
    let leaf: Certificate?

    /// In bytes; more than any bundle has, less than hurts.
    static let sizeLimit = 1 << 20

    init(_ file: LiveFile) {
        self.init(file.contents, attributes: file.attributes)
    }

    /// - Parameter attributes: `nil`: there is no file to take them from, so it is ours alone.
    init(_ contents: Secret, attributes: FileAttributes?) {
        self.contents = contents
        self.attributes = attributes ?? FileAttributes(mode: 0o600, owner: geteuid(), group: getegid())
        leaf = CanonicalBundle.leaf(of: contents)
    }

    var receipt: DeploymentReceipt.PreviousBundle {
        .init(digest: ContentDigest.sha256(of: contents), attributes: attributes, leaf: leaf?.fingerprint)
    }

    /// - Throws: `state.corrupt` unless the bytes are the ones that the receipt speaks of.
    static func check(_ previous: Secret?, against receipt: DeploymentReceipt) throws(CertsError) {
        guard let expected = receipt.previous else { return }
        guard let previous, ContentDigest.sha256(of: previous) == expected.digest else {
            throw CertsError(
                .stateCorrupt, "the kept copy of \(receipt.bundlePath) is not what was live before the deployment",
                subject: receipt.bundlePath, hint: "put a working bundle at \(receipt.bundlePath) and reload HAProxy")
        }
    }

    /// Puts the file back as it was, or removes it where there was none.
    /// - Returns: whether anything had to be changed.
    @discardableResult
    static func restoreDisk(_ receipt: DeploymentReceipt, previous: Secret?, files: any LiveFiles) async throws -> Bool
    {
        let path = receipt.bundlePath
        let live = try? await files.read(path, limit: sizeLimit)
        guard let expected = receipt.previous, let previous else {
            try await files.remove(path)
            return live != nil
        }
        if let live, live.contents == previous, live.attributes == expected.attributes { return false }
        try await files.install(previous, at: path, attributes: expected.attributes)
        return true
    }
}
