internal import COpenSSL
internal import COpenSSLStart
import CertsCore
import Synchronization

/// What all handshakes of one kind have in common: versions, ciphers, no session, no trust decision.
///
/// Made once per kind and shared by all threads: an `SSL_CTX` costs OpenSSL 3 a fifth of a handshake, because it looks up
/// every algorithm of the providers.
final class ProbeContext: @unchecked Sendable {
    // @unchecked: an `SSL_CTX` is reference counted and made to be shared; nothing of it is changed after `init`
    // (SSL_CTX_new(3)), and it collects no sessions, because the cache is off.
    private let context: OpenSSLObject

    private struct Kind: Hashable {
        let versions: TLSProbe.Versions
        let signatureAlgorithms: TLSProbe.SignatureAlgorithms
        let isLean: Bool
    }

    /// `nil`, the default one, where there is none. It lives as long as the process.
    nonisolated(unsafe) private static let lean: OpaquePointer? = certs_make_lean_context()
    private static let made = Mutex<[Kind: ProbeContext]>([:])

    /// - Parameter isLean: whether what is taken from the handshake is bytes. Certificates of such a session, which belong to
    ///   another library context, must not be used with anything else.
    /// - Throws: `openssl`; nothing is kept then, so that the next handshake tries again.
    static func shared(
        _ versions: TLSProbe.Versions, _ signatureAlgorithms: TLSProbe.SignatureAlgorithms, isLean: Bool
    ) throws(CertsError) -> ProbeContext {
        let kind = Kind(versions: versions, signatureAlgorithms: signatureAlgorithms, isLean: isLean)
        if let known = made.withLock({ $0[kind] }) { return known }
        // Outside of the lock: two threads may make one each, and one is thrown away.
        let new = try ProbeContext(versions, signatureAlgorithms, isLean ? Self.lean : nil)
        return made.withLock { known in
            if let first = known[kind] { return first }
            known[kind] = new
            return new
        }
    }

    /// A handshake that has not begun. It keeps the context for as long as it lives.
    func newSession() throws(CertsError) -> OpenSSLObject {
        try OpenSSLObject(SSL_new(context.pointer), SSL_free, "cannot prepare a handshake")
    }

    private init(
        _ versions: TLSProbe.Versions, _ signatureAlgorithms: TLSProbe.SignatureAlgorithms, _ library: OpaquePointer?
    ) throws(CertsError) {
        context = try OpenSSLObject(
            SSL_CTX_new_ex(library, nil, TLS_client_method()), SSL_CTX_free, "cannot prepare a handshake")
        // Level 0: a probe must be able to look at a certificate that is too weak to be trusted.
        SSL_CTX_set_security_level(context.pointer, 0)
        SSL_CTX_set_verify(context.pointer, SSL_VERIFY_NONE, nil)
        // Even so OpenSSL would look for a path to no anchor, only to ignore that there is none.
        SSL_CTX_set_cert_verify_callback(context.pointer, { _, _ in 1 }, nil)
        certs_SSL_CTX_set_session_cache_off(context.pointer)
        certs_SSL_CTX_forbid_resumption(context.pointer)
        let (lowest, highest) = versions.bounds
        // Set in any case: openssl.cnf of the host has minimum versions of its own.
        try CertsError.check(certs_SSL_CTX_set_min_proto_version(context.pointer, lowest), "cannot set the TLS version")
        try CertsError.check(
            certs_SSL_CTX_set_max_proto_version(context.pointer, highest), "cannot set the TLS version")
        guard let choice = signatureAlgorithms.choice else {
            try CertsError.check(
                SSL_CTX_set_cipher_list(context.pointer, "ALL:!aNULL:!eNULL:@SECLEVEL=0"), "cannot set the ciphers")
            return
        }
        // Up to TLS 1.2 the cipher decides as well (RFC 5246 §7.4.2), from TLS 1.3 on the signature algorithms alone.
        try CertsError.check(
            certs_SSL_CTX_set1_sigalgs_list(context.pointer, choice.signatures), "cannot set the signature algorithms")
        try CertsError.check(SSL_CTX_set_cipher_list(context.pointer, choice.ciphers), "cannot set the ciphers")
    }
}

extension TLSProbe.Versions {
    fileprivate var bounds: (lowest: Int32, highest: Int32) {
        switch self {
        case .any: (TLS1_VERSION, TLS1_3_VERSION)
        case .only12: (TLS1_2_VERSION, TLS1_2_VERSION)
        case .only13: (TLS1_3_VERSION, TLS1_3_VERSION)
        }
    }
}

extension TLSProbe.SignatureAlgorithms {
    /// In OpenSSL's syntax; `nil`: the defaults.
    fileprivate var choice: (signatures: String, ciphers: String)? {
        switch self {
        case .any: nil
        case .onlyRSA:
            (
                "RSA-PSS+SHA256:RSA-PSS+SHA384:RSA-PSS+SHA512:RSA+SHA256:RSA+SHA384:RSA+SHA512:RSA+SHA1",
                "aRSA:!eNULL:@SECLEVEL=0"
            )
        case .onlyECDSA: ("ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:ECDSA+SHA1", "aECDSA:!eNULL:@SECLEVEL=0")
        }
    }
}
