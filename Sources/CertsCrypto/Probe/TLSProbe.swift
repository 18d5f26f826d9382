internal import COpenSSL
package import CertsCore
import Foundation

/// One fresh TLS handshake with an endpoint, to see what it serves: no session, no tickets, no trust decision.
///
/// The answer to "is it valid?" belongs to the chain verifier; a probe also reports expired and foreign certificates.
package struct TLSProbe: Sendable {
    /// A DNS name or an IP address without brackets.
    package var host: String
    package var port: Int
    /// The SNI to send; `nil`: none, which shows the certificate that is served by default. An IP address is never sent
    /// (RFC 6066 §3).
    package var serverName: String?
    /// For everything together: name resolution, all addresses, handshake.
    package var deadline: Duration
    package var versions: Versions
    package var signatureAlgorithms: SignatureAlgorithms

    package enum Versions: Sendable, Hashable, CaseIterable {
        case any
        case only12
        case only13
    }

    /// Which kinds of certificate the server may choose: a server with several shows each only to a client that has no
    /// other choice.
    package enum SignatureAlgorithms: Sendable, Hashable, CaseIterable {
        case any
        case onlyRSA
        case onlyECDSA
    }

    package init(
        host: String, port: Int, serverName: String? = nil, deadline: Duration = .seconds(10),
        versions: Versions = .any,
        signatureAlgorithms: SignatureAlgorithms = .any
    ) {
        self.host = host
        self.port = port
        self.serverName = serverName
        self.deadline = deadline
        self.versions = versions
        self.signatureAlgorithms = signatureAlgorithms
    }

    /// Connects and shakes hands. BLOCKING for up to ``deadline``: only on a blocking pool.
    ///
    /// - Throws: `probe.timeout` at the deadline, `probe.failed` for everything else; both may be tried again.
    package func run() throws(CertsError) -> ProbeResult {
        let limit = Deadline(deadline)
        do throws(CertsError) {
            let socket = try SocketConnection(host: host, port: port, limit: limit)
            OpenSSLErrors.clear()
            let context = try makeContext()
            let session = try OpenSSLObject(SSL_new(context.pointer), SSL_free, "cannot prepare a handshake")
            return try shakeHands(session.pointer, over: socket, limit: limit)
        } catch {
            OpenSSLErrors.clear()
            throw CertsError(
                error.code == .probeTimeout ? .probeTimeout : .probeFailed, "\(endpoint): \(error.message)",
                subject: endpoint, hint: error.hint, retry: .later)
        }
    }

    private var endpoint: String {
        let address = Endpoint(host: host, port: port).address
        guard let serverName else { return address }
        return "\(address) (server name \(serverName))"
    }

    private func makeContext() throws(CertsError) -> OpenSSLObject {
        let context = try OpenSSLObject(SSL_CTX_new(TLS_client_method()), SSL_CTX_free, "cannot prepare a handshake")
        // Level 0: a probe must be able to look at a certificate that is too weak to be trusted.
        SSL_CTX_set_security_level(context.pointer, 0)
        SSL_CTX_set_verify(context.pointer, SSL_VERIFY_NONE, nil)
        certs_SSL_CTX_set_session_cache_off(context.pointer)
        certs_SSL_CTX_forbid_resumption(context.pointer)
        let (lowest, highest): (Int32, Int32) =
            switch versions {
            case .any: (TLS1_VERSION, TLS1_3_VERSION)
            case .only12: (TLS1_2_VERSION, TLS1_2_VERSION)
            case .only13: (TLS1_3_VERSION, TLS1_3_VERSION)
            }
        // Set in any case: openssl.cnf of the host has minimum versions of its own.
        try CertsError.check(certs_SSL_CTX_set_min_proto_version(context.pointer, lowest), "cannot set the TLS version")
        try CertsError.check(
            certs_SSL_CTX_set_max_proto_version(context.pointer, highest), "cannot set the TLS version")
        guard let choice = signatureAlgorithms.choice else {
            try CertsError.check(
                SSL_CTX_set_cipher_list(context.pointer, "ALL:!aNULL:!eNULL:@SECLEVEL=0"), "cannot set the ciphers")
            return context
        }
        // Up to TLS 1.2 the cipher decides as well (RFC 5246 §7.4.2), from TLS 1.3 on the signature algorithms alone.
        try CertsError.check(
            certs_SSL_CTX_set1_sigalgs_list(context.pointer, choice.signatures), "cannot set the signature algorithms")
        try CertsError.check(SSL_CTX_set_cipher_list(context.pointer, choice.ciphers), "cannot set the ciphers")
        return context
    }

    /// Drives the handshake through two buffers in memory: the socket is read and written by us, with `MSG_NOSIGNAL`,
    /// because OpenSSL's own socket BIO raises SIGPIPE when the peer is gone.
    private func shakeHands(
        _ session: OpaquePointer, over socket: borrowing SocketConnection, limit: Deadline
    ) throws(CertsError) -> ProbeResult {
        guard let incoming = BIO_new(BIO_s_mem()) else { throw .openSSL(.openSSL, "no memory") }
        guard let outgoing = BIO_new(BIO_s_mem()) else {
            BIO_free(incoming)
            throw .openSSL(.openSSL, "no memory")
        }
        // The session owns both from here on.
        SSL_set_bio(session, incoming, outgoing)
        if let serverName, !serverName.isEmpty, IPAddress(serverName) == nil {
            try CertsError.check(certs_SSL_set_tlsext_host_name(session, serverName), "cannot send the server name")
        }
        _ = certs_SSL_request_ocsp_staple(session)
        SSL_set_connect_state(session)
        var received = 0
        while true {
            OpenSSLErrors.clear()
            let result = SSL_do_handshake(session)
            let reason = SSL_get_error(session, result)
            let failure = result == 1 || reason == SSL_ERROR_WANT_READ ? nil : OpenSSLErrors.drain()
            // Also after a failure: the alert tells the server's log why.
            try flush(outgoing, to: socket, limit: limit, ignoringFailure: failure != nil)
            if result == 1 { break }
            if let failure {
                throw CertsError(
                    .probeFailed, "the handshake failed: \(failure)",
                    hint: "see what listens there and which TLS versions it speaks")
            }
            let bytes = try socket.receive(limit: limit)
            received += bytes.count
            guard received <= Self.maximumHandshake else {
                throw CertsError(
                    .probeFailed, "the server sent more than \(Self.maximumHandshake) bytes of handshake",
                    hint: "see what listens there")
            }
            guard BIO_write(incoming, bytes, Int32(bytes.count)) == Int32(bytes.count) else {
                throw .openSSL(.openSSL, "no memory")
            }
        }
        let result = try result(of: session, address: socket.address, limit: limit)
        // A polite end, so that the server does not log an aborted connection. It is no part of the proof.
        SSL_shutdown(session)
        try flush(outgoing, to: socket, limit: limit, ignoringFailure: true)
        return result
    }

    /// OpenSSL refuses chains over 100 KiB; this bounds what surrounds them.
    static let maximumHandshake = 1 << 18

    private func flush(
        _ outgoing: OpaquePointer, to socket: borrowing SocketConnection, limit: Deadline, ignoringFailure: Bool
    ) throws(CertsError) {
        var start: UnsafeMutablePointer<CChar>?
        let count = certs_BIO_get_mem_data(outgoing, &start)
        guard count > 0, let start else { return }
        do throws(CertsError) {
            try socket.send(UnsafeRawBufferPointer(start: start, count: count), limit: limit)
        } catch {
            if !ignoringFailure { throw error }
        }
        certs_BIO_reset(outgoing)
    }

    private func result(of session: OpaquePointer, address: String, limit: Deadline) throws(CertsError) -> ProbeResult {
        guard let sent = SSL_get_peer_cert_chain(session) else {
            throw CertsError(.probeFailed, "the server sent no certificate", hint: "see what listens there")
        }
        var chain: [Certificate] = []
        for index in 0..<max(0, certs_sk_X509_num(sent)) {
            guard let x509 = certs_sk_X509_value(sent, index) else { break }
            chain.append(try Certificate(der: try encodeDER("a certificate") { i2d_X509(x509, $0) }))
        }
        guard let leaf = chain.first else {
            throw CertsError(.probeFailed, "the server sent no certificate", hint: "see what listens there")
        }
        var staple: UnsafeMutablePointer<UInt8>?
        let stapleLength = certs_SSL_get_ocsp_staple(session, &staple)
        var signature: Int32 = 0
        let hasSignature = SSL_get_peer_signature_type_nid(session, &signature) == 1
        return ProbeResult(
            address: address, leaf: leaf, chain: chain, protocolVersion: String(cString: SSL_get_version(session)),
            cipher: SSL_CIPHER_get_name(SSL_get_current_cipher(session)).map { String(cString: $0) } ?? "",
            signatureType: hasSignature ? Self.signatureName(signature) : nil,
            ocspStaple: stapleLength > 0 ? staple.map { Data(bytes: $0, count: stapleLength) } : nil,
            elapsed: limit.elapsed)
    }

    private static func signatureName(_ nid: Int32) -> String? {
        switch nid {
        case EVP_PKEY_RSA, EVP_PKEY_RSA_PSS: "rsa"
        case EVP_PKEY_EC: "ecdsa"
        case EVP_PKEY_ED25519: "ed25519"
        default: OBJ_nid2sn(nid).map { String(cString: $0) }
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
