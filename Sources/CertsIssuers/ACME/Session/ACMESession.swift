import CertsCore
import CertsHTTP
import Foundation
import Synchronization

/// Signed requests to one ACME server: its directory, its nonces, and the retries that are safe (RFC 8555 §6).
///
/// A request is never sent twice as it is. Reads (POST-as-GET) are signed anew and repeated after a broken connection;
/// what changes something is not: the caller reads the object first, because the request may have been carried out.
final class ACMESession: Sendable {
    let directoryURL: String
    let issuer: Name
    private let client: HTTPClient
    private let requests: IssuerRequests?
    private let nonces = NoncePool()
    private let known = Mutex<(directory: Directory, at: ContinuousClock.Instant)?>(nil)
    /// How long a directory is believed.
    private static let directoryAge = Duration.seconds(3600)
    /// For one request with all its repetitions.
    private static let deadline = Duration.seconds(90)
    /// The longest `Retry-After` that is waited for here; a longer one ends the attempt, and is kept on disk.
    private static let patience: TimeInterval = 5

    /// - Parameter requests: where they are counted.
    init(issuer: Name, directoryURL: String, caFile: String?, requests: IssuerRequests? = nil) {
        self.requests = requests
        self.issuer = issuer
        self.directoryURL = directoryURL
        var client = HTTPClient(caFile: caFile, userAgent: "certs (certificate lifecycle manager; ACME)")
        client.connections = HTTPConnections()
        self.client = client
    }

    /// Who signs a request.
    enum Signer: Sendable {
        /// With the key in the header, where there is no account yet, or a certificate's own key.
        case key(WebKey)
        case account(WebKey, url: String)
    }

    // MARK: Requests

    /// The directory (RFC 8555 §7.1.1), asked for again after an hour.
    func directory(refreshed: Bool = false) async throws -> Directory {
        if !refreshed, let known = known.withLock({ $0 }), known.at.duration(to: .now) < Self.directoryAge {
            return known.directory
        }
        let directory = try Directory(try await get(directoryURL))
        known.withLock { $0 = (directory, .now) }
        return directory
    }

    /// POST-as-GET (RFC 8555 §6.3).
    func read(_ url: String, as signer: Signer, accepting type: String? = nil) async throws -> HTTPReply {
        try await send(url, nil, signer, isRepeatable: true, accepting: type)
    }

    /// A POST that changes something.
    ///
    /// - Parameter isRepeatable: doing it twice does no harm and there is nothing to read first: it is signed anew and
    ///   repeated after a broken connection, like a read.
    func post(
        _ url: String, _ payload: any Encodable & Sendable, as signer: Signer, isRepeatable: Bool = false
    ) async throws -> HTTPReply {
        try await send(url, payload, signer, isRepeatable: isRepeatable, accepting: nil)
    }

    /// A plain GET: for the directory and renewal information only. Follows up to three redirects.
    func get(_ url: String) async throws -> HTTPReply {
        var url = try checked(url)
        for _ in 0...3 {
            let reply = try await repeated { try await self.exchange(HTTPRequest(.get, url), url) }
            if (300..<400).contains(reply.status), let location = reply.location {
                url = try checked(location)
                continue
            }
            guard reply.isSuccess else { throw reply.failure() }
            return reply
        }
        throw CertsError(
            .issuerUnavailable, "\(HTTPReply.shown(url)) redirects in a circle", subject: issuer.rawValue,
            hint: "check `directory:`", retry: .later)
    }

    /// The answer to a request for a new nonce, with its header fields; for inspection.
    func newNonceReply() async throws -> HTTPReply {
        let url = try checked(try await directory().newNonce)
        let reply = try await repeated { try await self.exchange(HTTPRequest(.head, url), url) }
        guard reply.isSuccess else { throw reply.failure() }
        return reply
    }

    // MARK: Parts

    private func send(
        _ url: String, _ payload: (any Encodable & Sendable)?, _ signer: Signer, isRepeatable: Bool,
        accepting type: String?
    ) async throws -> HTTPReply {
        let url = try checked(url)
        let end = ContinuousClock.now + Self.deadline
        var attempts = 0
        while true {
            attempts += 1
            let nonce = try await nonce()
            let request = try signed(url, payload, signer, nonce, accepting: type)
            let reply =
                isRepeatable
                ? try await repeated { attempt in
                    // A nonce that was sent may be used up, whatever came back.
                    let request =
                        attempt == 0
                        ? request : try self.signed(url, payload, signer, try await self.nonce(), accepting: type)
                    return try await self.exchange(request, url)
                } : try await exchange(request, url)
            if reply.isSuccess { return reply }
            let failure = reply.failure()
            guard ContinuousClock.now < end, attempts < 200,
                let pause = pause(failure, reply, attempts, isRepeatable: isRepeatable)
            else { throw failure }
            if pause > .zero { try await Task.sleep(for: pause) }
        }
    }

    /// How long to wait before the same is asked once more; `nil`: not at all.
    private func pause(_ failure: ACMEFailure, _ reply: HTTPReply, _ attempts: Int, isRepeatable: Bool) -> Duration? {
        if failure.kind == .badNonce { return attempts < 10 ? .zero : .milliseconds(50) }
        guard attempts <= 3 else { return nil }
        if failure.status == 429 || failure.status == 503, let at = failure.retryAt {
            let wait = at.timeIntervalSince(reply.receivedAt)
            return wait <= Self.patience ? .seconds(wait) : nil
        }
        guard isRepeatable, failure.status >= 500 else { return nil }
        return .milliseconds(250 << attempts)
    }

    private func signed(
        _ url: String, _ payload: (any Encodable & Sendable)?, _ signer: Signer, _ nonce: String,
        accepting type: String?
    ) throws -> HTTPRequest {
        let (key, account) =
            switch signer {
            case .key(let key): (key, String?.none)
            case .account(let key, let url): (key, url)
            }
        let header = WebSignature.Header(
            alg: key.algorithm, nonce: nonce, url: url, kid: account, jwk: account == nil ? key.members : nil)
        let signature = try WebSignature.sign(payload, header, with: key.key)
        var headers = [(name: "Content-Type", value: "application/jose+json")]
        if let type { headers.append((name: "Accept", value: type)) }
        return HTTPRequest(.post, url, headers: headers, body: try ProtocolJSON.encode(signature))
    }

    private func exchange(_ request: HTTPRequest, _ url: String) async throws -> HTTPReply {
        let begin = ContinuousClock.now
        func count(_ status: Int?) {
            requests?.count(issuer, status: status, seconds: (ContinuousClock.now - begin) / .seconds(1))
        }
        let response: HTTPResponse
        do {
            response = try await client.send(request)
        } catch {
            count(nil)
            throw error
        }
        count(response.status)
        nonces.put(response.headers["Replay-Nonce"])
        return HTTPReply(
            status: response.status, headers: response.headers, body: response.body, url: url, receivedAt: Date())
    }

    /// Three times, with growing pauses, while the connection fails or breaks.
    private func repeated(_ body: (_ attempt: Int) async throws -> HTTPReply) async throws -> HTTPReply {
        var attempt = 0
        while true {
            do {
                return try await body(attempt)
            } catch let error as CertsError where error.retry != .never && attempt < 2 {
                attempt += 1
                try await Task.sleep(for: .milliseconds(200 << attempt))
            }
        }
    }

    private func repeated(_ body: () async throws -> HTTPReply) async throws -> HTTPReply {
        try await repeated { _ in try await body() }
    }

    private func nonce() async throws -> String {
        if let nonce = nonces.take() { return nonce }
        let reply = try await newNonceReply()
        guard let nonce = nonces.take() else {
            throw CertsError(
                .issuerUnavailable, "\(HTTPReply.shown(reply.url)) gave no nonce", subject: issuer.rawValue,
                hint: "check that `directory:` is the URL of an ACME directory", retry: .later)
        }
        return nonce
    }

    /// URLs come from the server: only `https` ones of a sane form are followed.
    private func checked(_ url: String) throws(CertsError) -> String {
        let isPlain = url.utf8.allSatisfy {
            $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "\\") && $0 != UInt8(ascii: "#")
        }
        guard url.hasPrefix("https://"), url.utf8.count <= 2048, isPlain else {
            throw CertsError(
                .issuerRefused, "the CA names a URL that is not used: \(TerminalText.sanitized(url, limit: 200))",
                subject: issuer.rawValue, hint: "only https URLs are followed; check `directory:`")
        }
        return url
    }
}
