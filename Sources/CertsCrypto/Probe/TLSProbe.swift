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
        let limit = Deadline(deadline)
        do throws(CertsError) {
            let socket = try SocketConnection(host: host, port: port, limit: limit)
            OpenSSLErrors.clear()
            let session = try ProbeContext.shared(versions, signatureAlgorithms).newSession()
            return try shakeHands(session.pointer, over: socket, limit: limit)
        } catch {
            OpenSSLErrors.clear()
            throw CertsError(
                [.probeTimeout, .probeUnreachable].contains(error.code) ? error.code : .probeFailed, "\(endpoint): \(error.message)",
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
        let result = try result(of: session, address: socket.address, limit: limit)
        // A polite end, so that the server does not log an aborted connection. It is no part of the proof; but in TLS 1.3
        // our Finished, which is, still waits to go with it.
        let isPartOfHandshake = certs_BIO_pending(outgoing) > 0
        SSL_shutdown(session)
        try flush(outgoing, to: socket, limit: limit, ignoringFailure: !isPartOfHandshake)
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
            chain.append(try Certificate(sharing: x509))
        }
        guard let leaf = chain.first else {
            throw CertsError(.probeFailed, "the server sent no certificate", hint: "see what listens there")
        }
        var staple: UnsafeMutablePointer<UInt8>?
        let stapleLength = certs_SSL_get_ocsp_staple(session, &staple)
        var signature: Int32 = 0
        let hasSignature = SSL_get_peer_signature_type_nid(session, &signature) == 1
        var selected: UnsafePointer<UInt8>?
        var selectedLength: UInt32 = 0
        SSL_get0_alpn_selected(session, &selected, &selectedLength)
        return ProbeResult(
            address: address, leaf: leaf, chain: chain, protocolVersion: String(cString: SSL_get_version(session)),
            cipher: SSL_CIPHER_get_name(SSL_get_current_cipher(session)).map { String(cString: $0) } ?? "",
            signatureType: hasSignature ? Self.signatureName(signature) : nil,
            applicationProtocol: selected.map {
                String(decoding: UnsafeBufferPointer(start: $0, count: Int(selectedLength)), as: UTF8.self)
            },
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
