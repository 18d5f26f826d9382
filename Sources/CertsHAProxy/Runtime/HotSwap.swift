package import CertsCore
import CertsCrypto
package import Logging

/// Hot swaps at one socket, without what a deployment has around them: no lock, no files, no proof by handshake.
package struct HotSwap: Sendable {
    private let session: RuntimeSession

    package init(socket: String, logger: Logger) {
        session = RuntimeSession(connection: RuntimeConnection(socket: socket), logger: logger)
    }

    /// The whole swap: what HAProxy keeps is read back before the commit and after it.
    ///
    /// - Parameter bundle: canonical.
    package func swap(_ path: String, to bundle: Secret) async throws(CertsError) {
        guard let leaf = CanonicalBundle.leaf(of: bundle) else {
            throw CertsError(.certificateMalformed, "there is no certificate in the bundle", subject: path)
        }
        try await session.swap(try StoreName(path), to: bundle, leaf: leaf.record)
    }

    /// Only its two commands that change something, `set` and `commit`.
    package func exchange(_ path: String, for bundle: Secret) async throws(CertsError) {
        let name = try StoreName(path)
        _ = try RuntimeReply.set(try await session.connection.send(.set(name, bundle)), name: name)
        _ = try RuntimeReply.commit(try await session.connection.send(.commit(name)), name: name)
    }
}
