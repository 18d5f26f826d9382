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
    /// To offer (RFC 7301), in order of preference; empty: the extension is not sent.
    package var applicationProtocols: [String]

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
        signatureAlgorithms: SignatureAlgorithms = .any, applicationProtocols: [String] = []
    ) {
        self.host = host
        self.port = port
        self.serverName = serverName
        self.deadline = deadline
        self.versions = versions
        self.signatureAlgorithms = signatureAlgorithms
        self.applicationProtocols = applicationProtocols
    }

    /// Connects and shakes hands. BLOCKING for up to ``deadline``: only on a blocking pool.
    ///
    /// - Throws: `probe.timeout` at the deadline, `probe.unreachable` without a connection, `probe.failed` for everything
    ///   else; all may be tried again.
    package func run() throws(CertsError) -> ProbeResult {
        try perform(isLean: false, result)
    }

    /// As ``run()``, without decoding what was sent: for who looks at many endpoints, again and again, where nearly all send
    /// what they sent before.
    package func sentChain() throws(CertsError) -> SentChain {
        try perform(isLean: true) { (session, _, _) throws(CertsError) in
            let sent = try Self.sent(to: session) { (x509) throws(CertsError) in
                try encodeDER("a certificate") { i2d_X509(x509, $0) }
            }
            return SentChain(certificates: sent.chain, staple: sent.staple)
        }
    }

    /// What is taken from a session after its handshake, with the address of the server.
    private typealias Taking<Value> = (OpaquePointer, String, Deadline) throws(CertsError) -> Value

    private func perform<Value>(isLean: Bool, _ take: Taking<Value>) throws(CertsError) -> Value {
        let limit = Deadline(deadline)
        do throws(CertsError) {
            let socket = try SocketConnection(host: host, port: port, limit: limit)
            OpenSSLErrors.clear()
            let session = try ProbeContext.shared(versions, signatureAlgorithms, isLean: isLean).newSession()
            return try shakeHands(session.pointer, over: socket, limit: limit, take)
        } catch {
            OpenSSLErrors.clear()
            throw CertsError(
                [.probeTimeout, .probeUnreachable].contains(error.code) ? error.code : .probeFailed,
                "\(endpoint): \(error.message)",
                subject: endpoint, hint: error.hint, retry: .later)
        }
    }

    private var endpoint: String {
        let address = Endpoint(host: host, port: port).address
        guard let serverName else { return address }
        return "\(address) (server name \(serverName))"
    }

    /// Drives the handshake through two buffers in memory: the socket is read and written by us, with `MSG_NOSIGNAL`,
    /// because OpenSSL's own socket BIO raises SIGPIPE when the peer is gone.
    private func shakeHands<Value>(
        _ session: OpaquePointer, over socket: borrowing SocketConnection, limit: Deadline, _ take: Taking<Value>
    ) throws(CertsError) -> Value {
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
        if !applicationProtocols.isEmpty {
            let list = applicationProtocols.flatMap { [UInt8(truncatingIfNeeded: $0.utf8.count)] + Array($0.utf8) }
            // The one function of OpenSSL that returns 0 for success.
            guard SSL_set_alpn_protos(session, list, UInt32(list.count)) == 0 else {
                throw .openSSL(.openSSL, "cannot offer a protocol")
            }
        }
        _ = certs_SSL_request_ocsp_staple(session)
        SSL_set_connect_state(session)
        var received = 0
        while true {
            OpenSSLErrors.clear()
            let result = SSL_do_handshake(session)
            let reason = SSL_get_error(session, result)
            let failure = result == 1 || reason == SSL_ERROR_WANT_READ ? nil : OpenSSLErrors.drain()
            if result == 1 { break }
            // Also after a failure: the alert tells the server's log why.
            try flush(outgoing, to: socket, limit: limit, ignoringFailure: failure != nil)
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
        let value = try take(session, socket.address, limit)
        // A polite end, so that the server does not log an aborted connection. It is no part of the proof; but in TLS 1.3
        // our Finished, which is, still waits to go with it.
        let isPartOfHandshake = certs_BIO_pending(outgoing) > 0
        SSL_shutdown(session)
        try flush(outgoing, to: socket, limit: limit, ignoringFailure: !isPartOfHandshake)
        return value
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

    private func result(_ session: OpaquePointer, _ address: String, _ limit: Deadline) throws(CertsError)
        -> ProbeResult
    {
        let sent = try Self.sent(to: session) { (x509) throws(CertsError) in try Certificate(sharing: x509) }
        var signature: Int32 = 0
        let hasSignature = SSL_get_peer_signature_type_nid(session, &signature) == 1
        var selected: UnsafePointer<UInt8>?
        var selectedLength: UInt32 = 0
        SSL_get0_alpn_selected(session, &selected, &selectedLength)
        return ProbeResult(
            address: address, leaf: sent.chain[0], chain: sent.chain,
            protocolVersion: String(cString: SSL_get_version(session)),
            cipher: SSL_CIPHER_get_name(SSL_get_current_cipher(session)).map { String(cString: $0) } ?? "",
            signatureType: hasSignature ? Self.signatureName(signature) : nil,
            applicationProtocol: selected.map {
                String(decoding: UnsafeBufferPointer(start: $0, count: Int(selectedLength)), as: UTF8.self)
            },
            ocspStaple: sent.staple, elapsed: limit.elapsed)
    }

    /// The chain, which is never empty, and the OCSP response.
    private static func sent<Value>(
        to session: OpaquePointer, _ read: (OpaquePointer) throws(CertsError) -> Value
    ) throws(CertsError) -> (chain: [Value], staple: Data?) {
        var chain: [Value] = []
        if let sent = SSL_get_peer_cert_chain(session) {
            for index in 0..<max(0, certs_sk_X509_num(sent)) {
                guard let x509 = certs_sk_X509_value(sent, index) else { break }
                chain.append(try read(x509))
            }
        }
        guard !chain.isEmpty else {
            throw CertsError(.probeFailed, "the server sent no certificate", hint: "see what listens there")
        }
        var staple: UnsafeMutablePointer<UInt8>?
        let length = certs_SSL_get_ocsp_staple(session, &staple)
        return (chain, length > 0 ? staple.map { Data(bytes: $0, count: length) } : nil)
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
