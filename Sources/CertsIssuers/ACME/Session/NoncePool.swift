import Synchronization

/// The nonces that the server gave with its answers (RFC 8555 §6.5): each is good for one request, and the newest is the
/// least likely to have expired.
final class NoncePool: Sendable {
    private let nonces = Mutex<[String]>([])
    private let limit = 256

    /// Keeps a nonce; what is not base64url (§6.5.1) is no nonce.
    func put(_ nonce: String?) {
        guard let nonce, nonce.utf8.count <= 1024, Base64URL.isAlphabet(nonce) else { return }
        nonces.withLock {
            if $0.count >= limit { $0.removeFirst(limit / 2) }
            $0.append(nonce)
        }
    }

    func take() -> String? { nonces.withLock { $0.popLast() } }
}
