import CertsCore
import CertsCrypto
import Foundation

/// The TLS certificate of a server that a test starts on loopback, as the files that it reads.
package struct ServerIdentity: Sendable {
    /// Leaf and intermediate, PEM.
    package let certificateFile: String
    package let keyFile: String
    /// The root for its clients, PEM.
    package let caFile: String

    /// A certificate for `localhost`, 127.0.0.1 and `::1`.
    package static func make(in directory: TemporaryDirectory, name: String) throws -> ServerIdentity {
        let pki = try TestPKI()
        let leaf = try pki.leaf(["localhost", "127.0.0.1", "::1"])
        let chain = leaf.certificate.pem + pki.intermediate.certificate.pem
        return ServerIdentity(
            certificateFile: try directory.write(chain, to: "\(name)-tls.pem"),
            keyFile: try directory.write(leaf.keyPEM, to: "\(name)-tls-key.pem"),
            caFile: try directory.write(pki.root.certificate.pem, to: "\(name)-ca.pem"))
    }
}
