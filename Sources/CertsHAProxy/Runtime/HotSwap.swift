package import CertsCore
package import Logging

/// Hot swaps at one socket, without what a deployment has around them: no lock, no files, no proof by handshake.
package struct HotSwap: Sendable {
    private let session: RuntimeSession

    package init(socket: String, logger: Logger) {
        session = RuntimeSession(connection: RuntimeConnection(socket: socket), logger: logger)
    }

    /// The whole swap: what HAProxy keeps is read back before the commit and after it.
    ///
    /// - Parameters:
    ///   - bundle: canonical.
    ///   - leaf: of the bundle.
    package func swap(_ path: String, to bundle: Secret, leaf: CertificateRecord) async throws(CertsError) {
        try await session.swap(try StoreName(path), to: bundle, leaf: leaf)
    }

    /// Only its two commands that change something, `set` and `commit`.
    package func exchange(_ path: String, for bundle: Secret) async throws(CertsError) {
        let name = try StoreName(path)
        try await LoopExecutor.run { () async throws(CertsError) in
            _ = try RuntimeReply.set(try await session.connection.send(.set(name, bundle)), name: name)
            _ = try RuntimeReply.commit(try await session.connection.send(.commit(name)), name: name)
        }
    }
}
