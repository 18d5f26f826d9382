internal import COpenSSL
import CertsCore
import Foundation

/// What all handshakes of one listener have in common; the identity is chosen for each of them.
final class TLSServerContext: @unchecked Sendable {
    // @unchecked: an `SSL_CTX` is reference counted and made to be shared; nothing of it is changed after `init`.
    private let context: OpenSSLObject

    init() throws(CertsError) {
        OpenSSLErrors.clear()
        context = try OpenSSLObject(SSL_CTX_new(TLS_server_method()), SSL_CTX_free, "cannot prepare a TLS server")
        let pointer = context.pointer
        certs_SSL_CTX_set_session_cache_off(pointer)
        certs_SSL_CTX_forbid_resumption(pointer)
        certs_SSL_CTX_forbid_renegotiation(pointer)
        // Tickets of TLS 1.3 are sent even where they cannot be used.
        SSL_CTX_set_num_tickets(pointer, 0)
        // RFC 8737 §4 forbids anything below.
        try CertsError.check(
            certs_SSL_CTX_set_min_proto_version(pointer, TLS1_2_VERSION), "cannot set the TLS version")
        SSL_CTX_set_client_hello_cb(pointer, Self.answersHello, nil)
        SSL_CTX_set_alpn_select_cb(pointer, Self.selectsProtocol, nil)
    }

    /// A handshake that has not begun.
    /// - Parameter choice: must live as long as the session.
    func newSession(_ choice: ServerChoice) throws(CertsError) -> OpenSSLObject {
        let session = try OpenSSLObject(SSL_new(context.pointer), SSL_free, "cannot prepare a handshake")
        try CertsError.check(
            SSL_set_ex_data(session.pointer, 0, Unmanaged.passUnretained(choice).toOpaque()),
            "cannot prepare a handshake")
        SSL_set_accept_state(session.pointer)
        return session
    }

    private static func choice(of session: OpaquePointer?) -> ServerChoice? {
        guard let session, let pointer = SSL_get_ex_data(session, 0) else { return nil }
        return Unmanaged<ServerChoice>.fromOpaque(pointer).takeUnretainedValue()
    }

    private static let answersHello: SSL_client_hello_cb_fn = { session, alert, _ in
        guard let session, let choice = choice(of: session) else { return SSL_CLIENT_HELLO_ERROR }
        if choice.decide(for: session) { return SSL_CLIENT_HELLO_SUCCESS }
        alert?.pointee = SSL_AD_UNRECOGNIZED_NAME
        return SSL_CLIENT_HELLO_ERROR
    }

    private static let selectsProtocol: SSL_CTX_alpn_select_cb_func = { session, selected, length, offered, count, _ in
        guard let name = choice(of: session)?.identity?.applicationProtocol, let offered else {
            return SSL_TLSEXT_ERR_NOACK
        }
        // The answer must point to memory that outlives the call: the client's own list.
        var index = 0
        while index < Int(count) {
            let size = Int(offered[index])
            guard index + 1 + size <= Int(count) else { break }
            if UnsafeBufferPointer(start: offered + index + 1, count: size).elementsEqual(name.utf8) {
                selected?.pointee = offered + index + 1
                length?.pointee = UInt8(size)
                return SSL_TLSEXT_ERR_OK
            }
            index += 1 + size
        }
        return SSL_TLSEXT_ERR_ALERT_FATAL
    }
}

/// The choice of the identity for one handshake; used by one thread only.
final class ServerChoice {
    private let choose: (ClientHello) -> TLSListener.Identity?
    private(set) var hello = ClientHello()
    private(set) var identity: TLSListener.Identity?

    init(_ choose: @escaping (ClientHello) -> TLSListener.Identity?) { self.choose = choose }

    /// Asks for the identity and gives it to the session. Called again after a HelloRetryRequest.
    func decide(for session: OpaquePointer) -> Bool {
        hello = ClientHello(lookingAt: session)
        identity = choose(hello)
        guard let identity, let leaf = identity.chain.first, let stack = certs_sk_X509_new_null() else { return false }
        defer { certs_sk_X509_free(stack) }
        return withExtendedLifetime(identity.chain) {
            for certificate in identity.chain.dropFirst() {
                guard certificate.withX509({ certs_sk_X509_push(stack, $0) }) > 0 else { return false }
            }
            // Each of the three keeps a reference of its own.
            return leaf.withX509 { SSL_use_certificate(session, $0) } == 1
                && identity.key.withKey { SSL_use_PrivateKey(session, $0) } == 1
                && certs_SSL_set1_chain(session, stack) == 1
        }
    }
}
