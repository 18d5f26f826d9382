import CertsCore
import CertsEngine
import CertsGzip
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore

/// Answers the four paths; everything else is refused by default.
///
/// Paths are compared as they came: what is written in another way (`//metrics`, `%6detrics`) is another path.
struct WebResponder: HTTPResponder {
    typealias Context = WebContext

    let snapshot: PublishedSnapshot
    let landingPage: LandingPage

    func respond(to request: Request, context: Context) async throws -> Response {
        var response = answer(request)
        response.headers.append(HTTPField(name: .xContentTypeOptions, value: "nosniff"))
        if hasBody(request) {
            // Nothing here takes a body, so it is not waited for either. Only our half is closed: what the client still
            // sends would otherwise answer it with a reset, before it has read what we say.
            response.headers[.connection] = "close"
            let said = response.body
            response.body = ResponseBody(contentLength: said.contentLength) { writer in
                try await said.write(writer)
                context.channel.close(mode: .output, promise: nil)
            }
        }
        return request.method == .head ? response.createHeadResponse() : response
    }

    private func answer(_ request: Request) -> Response {
        let page: (Request) -> Response
        switch request.uri.path {
        case "/": page = landing
        case "/metrics": page = metrics
        case "/healthz": page = { _ in health }
        case "/readyz": page = readiness
        default: return text(.notFound, "not found; see / for what there is\n")
        }
        guard request.method == .get || request.method == .head else {
            var response = text(.methodNotAllowed, "only GET and HEAD\n")
            response.headers[.allow] = "GET, HEAD"
            return response
        }
        guard !hasBody(request) else { return text(.contentTooLarge, "a request has no body here\n") }
        return page(request)
    }

    private func hasBody(_ request: Request) -> Bool {
        if request.headers[.transferEncoding] != nil { return true }
        return request.headers[.contentLength].map { $0 != "0" } ?? false
    }

    private func metrics(_ request: Request) -> Response {
        let format = Self.format(request)
        let filters = request.uri.queryParameters.filter { $0.key == "family" }.map { String($0.value) }
        guard filters.count <= Self.filterLimit else { return text(.badRequest, "too many filters\n") }
        guard let member = snapshot.current.exposition.member(filters, as: format) else {
            return text(.badRequest, "no family is named like that; /metrics without filters lists them\n")
        }
        var headers = HTTPFields([
            HTTPField(name: .contentType, value: format.contentType),
            HTTPField(name: .vary, value: "Accept, Accept-Encoding"),
        ])
        guard acceptsGzip(request) else {
            return Response(status: .ok, headers: headers, body: Self.plain(member))
        }
        headers[.contentEncoding] = "gzip"
        return Response(status: .ok, headers: headers, body: Self.compressed(member))
    }

    private static let filterLimit = 100

    /// The parts as they were rendered; a part of megabytes is copied a piece at a time, as the client takes it.
    private static func compressed(_ member: GzipMember) -> ResponseBody {
        ResponseBody(contentLength: member.compressedLength) { writer in
            try await writer.write(ByteBuffer(bytes: GzipMember.head))
            for piece in member.pieces {
                for start in stride(from: 0, to: piece.bytes.count, by: chunk) {
                    try await writer.write(
                        ByteBuffer(bytes: piece.bytes[start..<min(start + chunk, piece.bytes.count)]))
                }
            }
            try await writer.write(ByteBuffer(bytes: member.tail))
            try await writer.finish(nil)
        }
    }

    /// In bytes: what waits for slow clients is at most some of these for each.
    private static let chunk = 1 << 14

    /// For clients that do not take gzip: decompressed as they take it.
    private static func plain(_ member: GzipMember) -> ResponseBody {
        ResponseBody(contentLength: member.length) { writer in
            for piece in member.pieces {
                var inflation = try Inflation(piece)
                while let text = try inflation.next() { try await writer.write(ByteBuffer(bytes: text)) }
            }
            try await writer.finish(nil)
        }
    }

    /// OpenMetrics only for who asks for it, and not less than for the text format (RFC 9110 §12.5.1).
    static func format(_ request: Request) -> PrometheusText.Format {
        var weights: [PrometheusText.Format: Double] = [:]
        for range in request.headers[values: .accept].flatMap({ $0.split(separator: ",") }) {
            let parts = range.lowercased().split(separator: ";").map { $0.trimmingCharacters(in: .whitespaces) }
            let weight = parts.first { $0.hasPrefix("q=") }.map { Double($0.dropFirst(2)) ?? 0 } ?? 1
            let version = parts.first { $0.hasPrefix("version=") }?.dropFirst("version=".count)
            switch parts.first {
            case "application/openmetrics-text" where [nil, "1.0.0", "0.0.1"].contains(version):
                weights[.openMetrics] = max(weight, weights[.openMetrics] ?? 0)
            case "text/plain" where [nil, "0.0.4"].contains(version):
                weights[.text] = max(weight, weights[.text] ?? 0)
            default: break
            }
        }
        let wanted = weights[.openMetrics] ?? 0
        return wanted > 0 && wanted >= weights[.text] ?? 0 ? .openMetrics : .text
    }

    /// `gzip` or `*` with a weight other than 0 (RFC 9110 §12.5.3).
    private func acceptsGzip(_ request: Request) -> Bool {
        let codings = request.headers[values: .acceptEncoding].flatMap { $0.split(separator: ",") }
        return codings.contains { coding in
            let parts = coding.lowercased().split(separator: ";").map { $0.trimmingCharacters(in: .whitespaces) }
            guard let name = parts.first, name == "gzip" || name == "*" else { return false }
            let weight = parts.dropFirst().first { $0.hasPrefix("q=") }.map { Double($0.dropFirst(2)) ?? 0 }
            return weight ?? 1 > 0
        }
    }

    /// Alive is more than answering: the planner must move, too.
    private var health: Response {
        let heartbeat = snapshot.heartbeat
        guard !heartbeat.isAlive else { return text(.ok, "ok\n") }
        return text(.serviceUnavailable, "\(TerminalText.sanitized(heartbeat.status))\n")
    }

    private func readiness(_ request: Request) -> Response {
        switch snapshot.current.readiness {
        case .ready: text(.ok, "ready\n")
        case .notReady(let reason): text(.serviceUnavailable, "not ready: \(TerminalText.sanitized(reason))\n")
        }
    }

    private func landing(_ request: Request) -> Response {
        var response = unstored(.ok, "text/html; charset=utf-8", landingPage.render(snapshot.current))
        // The page has no script, no style and no image, so none may come in.
        response.headers.append(
            HTTPField(name: .contentSecurityPolicy, value: "default-src 'none'; frame-ancestors 'none'"))
        return response
    }

    private func text(_ status: HTTPResponse.Status, _ text: String) -> Response {
        unstored(status, "text/plain; charset=utf-8", text)
    }

    private func unstored(_ status: HTTPResponse.Status, _ type: String, _ text: String) -> Response {
        Response(
            status: status,
            headers: HTTPFields([
                HTTPField(name: .contentType, value: type), HTTPField(name: .cacheControl, value: "no-store"),
            ]),
            body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }
}

/// What belongs to one request: also its connection, to be able to end it.
struct WebContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let channel: any Channel

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        channel = source.channel
    }
}
