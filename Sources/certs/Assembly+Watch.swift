import CertsCore
import CertsCrypto
import CertsEngine
import CertsHAProxy
import CertsStore
import Foundation

extension Assembly {
    /// What looks at the certificates that are only watched.
    func watch() throws -> CertificateWatch {
        let anchors = declarations.watch.endpoints.isEmpty ? [] : Self.systemAnchors()
        return CertificateWatch(
            context: engine.context, files: FileWalker(),
            endpoints: EndpointWatch(prober: HandshakeProber(), inventory: database, anchors: anchors))
    }

    /// Where the distributions keep the roots that the host trusts.
    private static let trustStores = [
        "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ]

    /// The roots that the host trusts, or those of `SSL_CERT_FILE`, as for every other program with OpenSSL. Where there
    /// are none, whether a chain is trusted is not known.
    private static func systemAnchors() -> [Certificate] {
        let chosen = ProcessInfo.processInfo.environment["SSL_CERT_FILE"].map { [$0] } ?? trustStores
        for path in chosen {
            if let found = try? InputFile.certificates(path, limit: 10_000), !found.isEmpty { return found }
        }
        return []
    }
}
