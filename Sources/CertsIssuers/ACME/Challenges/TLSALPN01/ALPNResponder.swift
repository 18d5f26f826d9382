import CertsCore
import CertsCrypto
import Foundation
import Synchronization

/// What is shown for one server name.
struct ALPNProof: Sendable {
    let certificate: Certificate
    let key: PrivateKey
    /// SHA-256 of the key authorization: says which challenge it answers.
    let digest: Data

    /// Certificate and key in one PEM, for the processes that share it.
    func encoded() throws(CertsError) -> Secret {
        let certificate = certificate.pem
        return try key.pem().withBytes { Secret(copying: Array(certificate.utf8) + $0) }
    }

    init(certificate: Certificate, key: PrivateKey, digest: Data) {
        self.certificate = certificate
        self.key = key
        self.digest = digest
    }

    /// - Throws: `certificate.malformed`, `certificate.missing`, `key.malformed`.
    init(encoded: Secret) throws(CertsError) {
        let certificates = try CertificateReader.certificates(in: encoded.withBytes { Data($0) })
        guard let certificate = certificates.first, let shown = ChallengeCertificate.digestShown(by: certificate)
        else {
            throw CertsError(
                .certificateMissing, "this is no proof of tls-alpn-01", hint: "it is made again by the next attempt")
        }
        self.init(certificate: certificate, key: try PrivateKey(pem: encoded), digest: shown.digest)
    }
}

/// The listener of `tls-alpn-01` (RFC 8737): a handshake for a name that is shown, with the one protocol, and nothing else.
final class ALPNResponder: StoppableListener {
    private let listener: TLSListener

    /// It listens when this returns.
    /// - Throws: `listen.inUse`, `listen.failed`.
    init(_ address: SocketAddress, _ proofs: ShownProofs<ALPNProof>) throws(CertsError) {
        listener = try TLSListener(address) { hello in
            guard hello.protocols.contains(ChallengeCertificate.applicationProtocol), let name = hello.serverName,
                let proof = proofs.here(name) ?? Self.waiting(for: name, proofs.elsewhere)
            else { return nil }
            return TLSListener.Identity(
                chain: [proof.certificate], key: proof.key,
                applicationProtocol: ChallengeCertificate.applicationProtocol)
        } handle: { _ in
            // The CA has seen what it wants.
        }
    }

    func stop() async {
        let listener = listener
        // Nothing in it throws.
        try? await BlockingPool.network.run { listener.stop() }
    }

    private final class Answer: Sendable {
        let proof = Mutex<ALPNProof?>(nil)
        let isThere = DispatchSemaphore(value: 0)
    }

    /// OpenSSL asks on the thread of the connection, which may wait; reading files does not take seconds.
    private static func waiting(for name: String, _ lookup: @escaping ChallengeListener<ALPNProof>.Lookup) -> ALPNProof?
    {
        let answer = Answer()
        Task.detached {
            let found = await lookup(name)
            answer.proof.withLock { $0 = found }
            answer.isThere.signal()
        }
        guard answer.isThere.wait(timeout: .now() + .seconds(3)) == .success else { return nil }
        return answer.proof.withLock { $0 }
    }
}
