internal import CCurl
package import CertsCore
package import Foundation

/// Hands mail to a server (RFC 5321), through libcurl.
package struct SMTPClient: Sendable {
    package enum Security: Sendable {
        /// In the clear.
        case none
        /// RFC 3207: nothing is sent, no password either, before the connection is encrypted.
        case startTLS
        /// From the first byte (RFC 8314 §3.3).
        case implicit
    }

    package var host: String
    package var port: Int
    package var security: Security
    /// Sent with AUTH (RFC 4954) in the way that the server likes best.
    package var credentials: (user: String, password: Secret)?
    /// PEM file of the only CAs to trust; `nil`: the system's.
    package var caFile: String?
    /// For everything: resolving, connecting, TLS, sending.
    package var deadline: Duration

    package init(
        host: String, port: Int, security: Security, credentials: (user: String, password: Secret)? = nil,
        caFile: String? = nil, deadline: Duration = .seconds(20)
    ) {
        self.host = host
        self.port = port
        self.security = security
        self.credentials = credentials
        self.caFile = caFile
        self.deadline = deadline
    }

    /// Returns once the server has taken the message for every recipient.
    ///
    /// - Parameters:
    ///   - message: header and body, lines ended by CR LF; the end of the message is marked by libcurl.
    ///   - from: the envelope's sender, a plain address.
    /// - Throws: ``SMTPFailure``.
    package func send(_ message: Data, from: String, to recipients: [String]) async throws {
        let client = self
        try await BlockingPool.network.run {
            do {
                try client.sendBlocking(message, from: from, to: recipients)
            } catch let error as CertsError {
                throw SMTPFailure.unusable(error)
            }
        }
    }

    private var server: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    private func sendBlocking(_ message: Data, from: String, to recipients: [String]) throws {
        // A line break would begin a command of its own.
        let texts = [host, from] + recipients
        guard texts.allSatisfy({ $0.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != 0x3c && $0 != 0x3e } }),
            HTTPClient.isInitialized
        else {
            throw SMTPFailure.badAddress(server: TerminalText.sanitized(server))
        }
        let handle = try EasyHandle()
        try configure(handle)
        try handle.set(CURLOPT_MAIL_FROM, "<\(from)>")
        try handle.setRecipients(recipients.map { "<\($0)>" })
        try handle.setUpload(message)
        let received = ReceivedBytes(limits: .init(deadline: deadline))
        let code = handle.perform(received)
        guard code != CURLE_OK else { return }
        throw SMTPFailure.notTaken(server: server, reason: handle.reason(code), hint: advice(code))
    }

    private func configure(_ handle: EasyHandle) throws(CertsError) {
        try handle.set(CURLOPT_URL, "\(security == .implicit ? "smtps" : "smtp")://\(server)")
        try handle.set(CURLOPT_PROTOCOLS_STR, security == .implicit ? "smtps" : "smtp")
        try handle.set(CURLOPT_NOSIGNAL, 1)
        try handle.set(CURLOPT_PROXY, "")
        try handle.set(CURLOPT_NETRC, Int(CURL_NETRC_IGNORED.rawValue))
        let milliseconds = max(1, deadline.milliseconds)
        try handle.set(CURLOPT_TIMEOUT_MS, milliseconds)
        try handle.set(CURLOPT_CONNECTTIMEOUT_MS, min(milliseconds, 10_000))
        // ALL: fails where the server does not offer it; TRY would go on in the clear.
        let tls = security == .none ? CURLUSESSL_NONE : CURLUSESSL_ALL
        try handle.set(CURLOPT_USE_SSL, Int(tls.rawValue))
        try handle.set(CURLOPT_SSL_VERIFYPEER, 1)
        try handle.set(CURLOPT_SSL_VERIFYHOST, 2)
        if let caFile {
            try handle.set(CURLOPT_CAINFO, caFile)
            try handle.set(CURLOPT_CAPATH, nil)
        }
        guard let credentials else { return }
        try handle.set(CURLOPT_USERNAME, credentials.user)
        try handle.set(CURLOPT_PASSWORD, credentials.password.withBytes { String(decoding: $0, as: UTF8.self) })
    }

    private func advice(_ code: CURLcode) -> String {
        switch code {
        case CURLE_LOGIN_DENIED: "check the user and the password file"
        case CURLE_USE_SSL_FAILED: "the server offers no STARTTLS: use another port, or 'tls: implicit' (port 465)"
        case CURLE_SEND_ERROR, CURLE_RECV_ERROR: "check what the server allows this sender and these recipients"
        default: HTTPFailure.advice(code, caFile: caFile, unixSocket: nil).hint
        }
    }
}

/// Why a mail was not handed over.
package enum SMTPFailure: Error {
    /// An address, or the name of the server, has a character that none has: a line break would be a command of its own.
    case badAddress(server: String)
    /// - Parameters:
    ///   - reason: what the server, or libcurl, said.
    ///   - hint: the next step.
    case notTaken(server: String, reason: String, hint: String)
    /// libcurl cannot be used as it is.
    case unusable(CertsError)
}
