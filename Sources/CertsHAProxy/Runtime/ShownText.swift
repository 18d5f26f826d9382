import CertsCore
import CertsCrypto
import Foundation

/// How long HAProxy's answer to `show ssl cert NAME` is.
///
/// HAProxy 2.6.12 dies (`BUG_ON` in the CLI applet) where that answer is a little longer than its buffer, and leaves out
/// the rest of a longer one, the fingerprint included. So nobody is to ask about a certificate with that many names.
enum ShownText {
    /// In bytes; `tune.bufsize` is 16,384.
    static let limit = 15_000
    /// In bytes; no names make a longer answer of a smaller file.
    static let harmlessFile = 8_192

    /// In bytes, or a few more.
    /// - Parameter chain: the leaf first.
    static func size(_ chain: [CertificateRecord]) -> Int {
        guard let leaf = chain.first else { return 0 }
        let names = leaf.dnsNames.reduce(0) { $0 + "DNS:, ".utf8.count + $1.utf8.count }
        let others = leaf.ipAddresses.count + leaf.emailAddresses.count + leaf.uris.count
        let subjects = chain.reduce(0) { $0 + 64 + $1.subject.utf8.count + $1.issuer.utf8.count }
        return 512 + names + 2 * others + subjects
    }

    static func fits(_ bundle: Secret) -> Bool {
        bundle.count <= harmlessFile
            || size(((try? CanonicalBundle.certificates(in: bundle)) ?? []).map(\.record)) <= limit
    }

    static func cannotBeAsked(_ name: String) -> CertsError {
        CertsError(
            .targetBundleTooLarge,
            "the certificate \(name) has so many names that HAProxy must not be asked about it: 2.6 can die of its own answer",
            subject: name, hint: "spread the names over several certificates, or name a `fallback` that reloads")
    }
}

extension BundleFiles {
    /// The certificate in the file that HAProxy has loaded under this name, where HAProxy must not be asked about it.
    ///
    /// A file that this host does not see (a container's) is taken for harmless.
    func unaskable(_ name: StoreName) async -> CertificateRecord? {
        guard let path = path(of: name) else { return nil }
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG, let size = Int(exactly: status.st_size),
            size > ShownText.harmlessFile, let file = try? await files.read(path, limit: Self.sizeLimit),
            !ShownText.fits(file.contents)
        else { return nil }
        return CanonicalBundle.leaf(of: file.contents)?.record
    }

    /// As this host names it.
    private func path(of name: StoreName) -> String? {
        guard let loadedAs = node.loadedAs else { return name.rawValue.hasPrefix("/") ? name.rawValue : nil }
        guard let there = OwnBundles.split(loadedAs)?.directory, let here = OwnBundles.split(node.bundle)?.directory,
            let (directory, file) = OwnBundles.split(name.rawValue), directory == there
        else { return nil }
        return "\(here)/\(file)"
    }
}
