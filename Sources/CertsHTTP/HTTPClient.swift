internal import CCurl
package import CertsCore
import Foundation

/// An HTTP client with narrow habits: no redirects, no proxy from the environment, no cookies, no decompression, a new
/// connection for each request unless it is given ``connections``, and a bound on everything.
package struct HTTPClient: Sendable {
    /// PEM file of the only CAs to trust, instead of the system's.
    package var caFile: String?
    /// Sent as `User-Agent`.
    package var userAgent: String
    /// Connections that are kept open between requests; `nil`: none is.
    package var connections: HTTPConnections?

    package init(caFile: String? = nil, userAgent: String = "certs") {
        self.caFile = caFile
        self.userAgent = userAgent
    }

    /// Sends `request` and returns what came back; a status of 400 or more is a response, not an error.
    ///
    /// Runs on ``BlockingPool/network``. Cancelling the task does not end the request: its deadline does.
    ///
    /// - Throws: ``CertsError/Code/http``, with the URL (without query and user) as its subject. `retry` is `.later` for
    ///   what the other side may get over: resolving, connecting, deadlines, connections that break.
    package func send(_ request: HTTPRequest) async throws(CertsError) -> HTTPResponse {
        let client = self
        do {
            return try await BlockingPool.network.run { try client.sendBlocking(request) }
        } catch {
            throw CertsError.wrapping(error)
        }
    }

    /// The same on the thread of the caller, which it blocks.
    package func sendBlocking(_ request: HTTPRequest) throws(CertsError) -> HTTPResponse {
        guard Self.isInitialized else {
            throw CertsError(.http, "libcurl cannot be initialised", hint: "check the installation of libcurl4")
        }
        let subject = Self.shownURL(request.url, hidesPath: request.hidesPath)
        try Self.check(request, subject)
        let handle = if let connections { try connections.take() } else { try EasyHandle() }
        defer { connections?.giveBack(handle) }
        let received = ReceivedBytes(limits: request.limits)
        try configure(handle, request)
        let code = handle.perform(received)
        if let failure = failure(code, handle, received, request, subject) { throw failure }
        return HTTPResponse(status: handle.status, headers: received.headers, body: received.body)
    }

    /// `curl_global_init` must run once, and before any handle; a static is initialised exactly once.
    static let isInitialized = certs_curl_global_init() == CURLE_OK

    private static func check(_ request: HTTPRequest, _ subject: String) throws(CertsError) {
        func refuse(_ why: String) -> CertsError {
            CertsError(.http, "\(subject): \(why)", subject: subject, hint: "correct the address or the header field")
        }
        let texts =
            [request.url, request.unixSocket ?? "", request.connectTo?.host ?? ""]
            + request.headers.flatMap { [$0.name, $0.value] }
        // A line break would begin a header field or a request of its own.
        guard texts.allSatisfy({ $0.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f } }) else {
            throw refuse("control characters in the request")
        }
        let scheme = request.url.prefix { $0 != ":" }.lowercased()
        guard ["http", "https"].contains(scheme), request.url.dropFirst(scheme.count).hasPrefix("://") else {
            throw refuse("only http:// and https:// are used")
        }
        guard request.headers.allSatisfy({ !$0.name.isEmpty && !$0.name.contains(where: { ": \t".contains($0) }) })
        else {
            throw refuse("a header field without a proper name")
        }
    }

    private func configure(_ handle: EasyHandle, _ request: HTTPRequest) throws(CertsError) {
        try handle.set(CURLOPT_URL, request.url)
        // As it was given: a signed request names its URL, and libcurl would take dots out of it.
        try handle.set(CURLOPT_PATH_AS_IS, 1)
        try handle.set(CURLOPT_PROTOCOLS_STR, "http,https")
        // Signals would reach any thread of the process (libcurl-thread(3)).
        try handle.set(CURLOPT_NOSIGNAL, 1)
        try handle.set(CURLOPT_FOLLOWLOCATION, 0)
        // The empty text switches off `http_proxy` and its kin; so does "*" for `no_proxy` in older releases.
        try handle.set(CURLOPT_PROXY, "")
        if connections == nil {
            try handle.set(CURLOPT_FRESH_CONNECT, 1)
            try handle.set(CURLOPT_FORBID_REUSE, 1)
        } else {
            try handle.set(CURLOPT_MAXAGE_CONN, HTTPConnections.idleSeconds)
        }
        try handle.set(CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1)
        // Passwords in ~/.netrc are none of our business.
        try handle.set(CURLOPT_NETRC, Int(CURL_NETRC_IGNORED.rawValue))
        try handle.set(CURLOPT_USERAGENT, userAgent)
        try handle.set(CURLOPT_SSL_VERIFYPEER, request.acceptsAnyCertificate ? 0 : 1)
        try handle.set(CURLOPT_SSL_VERIFYHOST, request.acceptsAnyCertificate ? 0 : 2)
        if let caFile {
            try handle.set(CURLOPT_CAINFO, caFile)
            // Without this the system's directory is trusted as well.
            try handle.set(CURLOPT_CAPATH, nil)
        }
        if let place = request.connectTo { try handle.setConnectTo(host: place.host, port: place.port) }
        if let socket = request.unixSocket { try handle.set(CURLOPT_UNIX_SOCKET_PATH, socket) }
        try configureLimits(handle, request.limits)
        try configureMethod(handle, request)
    }

    private func configureLimits(_ handle: EasyHandle, _ limits: HTTPRequest.Limits) throws(CertsError) {
        let deadline = max(1, limits.deadline.milliseconds)
        try handle.set(CURLOPT_TIMEOUT_MS, deadline)
        try handle.set(CURLOPT_CONNECTTIMEOUT_MS, min(deadline, max(1, limits.idle.milliseconds)))
        // Below one byte a second for so long: idle.
        try handle.set(CURLOPT_LOW_SPEED_LIMIT, 1)
        try handle.set(CURLOPT_LOW_SPEED_TIME, max(1, limits.idle.milliseconds / 1000))
    }

    private func configureMethod(_ handle: EasyHandle, _ request: HTTPRequest) throws(CertsError) {
        switch request.method {
        case .get: try handle.set(CURLOPT_HTTPGET, 1)
        case .head: try handle.set(CURLOPT_NOBODY, 1)
        default: break
        }
        if request.body != nil || request.method == .post {
            try handle.set(CURLOPT_POST, 1)
            let body = request.body ?? Data()
            if connections == nil { try handle.setBody(body) } else { try handle.setBodyOnce(body) }
        }
        if request.method != .head { try handle.set(CURLOPT_CUSTOMREQUEST, request.method.rawValue) }
        // libcurl waits a second for "100 Continue" before it sends a larger body; nobody we talk to answers that.
        try handle.setHeaders([("Expect", "")] + request.headers)
    }

    private func failure(
        _ code: CURLcode, _ handle: EasyHandle, _ received: ReceivedBytes, _ request: HTTPRequest, _ subject: String
    ) -> CertsError? {
        if let excess = received.excess {
            return CertsError(
                .http, "\(subject) sent more than \(excess.bytes) bytes of \(excess.what)", subject: subject,
                hint: "check that the address is the right one; the answer was dropped")
        }
        guard code != CURLE_OK else { return nil }
        let advice = HTTPFailure.advice(code, caFile: caFile, unixSocket: request.unixSocket)
        return CertsError(
            .http, "\(subject): \(handle.reason(code))", subject: subject, hint: advice.hint, retry: advice.retry)
    }

    /// The URL for messages: a query may hold a token, and the user part a password.
    static func shownURL(_ url: String, hidesPath: Bool = false) -> String {
        var bare = url.prefix { $0 != "?" && $0 != "#" }
        guard let start = bare.range(of: "://")?.upperBound else { return hidesPath ? "" : String(bare.prefix(200)) }
        let authority = bare[start...].prefix { $0 != "/" }
        if hidesPath, authority.endIndex < bare.endIndex { bare = bare[..<authority.endIndex] + "/…" }
        guard let at = authority.lastIndex(of: "@") else { return String(bare.prefix(200)) }
        return String((bare[..<start] + bare[bare.index(after: at)...]).prefix(200))
    }
}

/// What a code of libcurl means for the caller.
enum HTTPFailure {
    static func advice(_ code: CURLcode, caFile: String?, unixSocket: String?) -> (
        hint: String, retry: CertsError.Retry
    ) {
        switch code {
        case CURLE_COULDNT_RESOLVE_HOST:
            return ("check the host name and the resolver", .later)
        case CURLE_COULDNT_CONNECT:
            return (
                unixSocket.map { "check that something listens on \($0) and that this user may connect" }
                    ?? "check that something listens there and that no firewall is between", .later
            )
        case CURLE_OPERATION_TIMEDOUT:
            return ("check whether the other side is overloaded, then try again", .later)
        case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_ISSUER_ERROR:
            let file = caFile.map { " (\($0))" } ?? ""
            return ("check the CA file\(file) and the names in the server's certificate", .never)
        case CURLE_UNSUPPORTED_PROTOCOL, CURLE_URL_MALFORMAT:
            return ("correct the address", .never)
        case CURLE_OUT_OF_MEMORY:
            return ("free memory", .later)
        default:
            // Connections that break, empty answers, TLS alerts: the other side may get over it.
            return ("try again; if it stays, look at the log of the other side", .later)
        }
    }
}

extension Duration {
    /// Whole milliseconds, bounded to what libcurl takes on any platform.
    var milliseconds: Int {
        let (seconds, attoseconds) = components
        guard seconds < 1_000_000 else { return 1_000_000_000 }
        return seconds < 0 ? 0 : Int(seconds) * 1000 + Int(attoseconds / 1_000_000_000_000_000)
    }
}
