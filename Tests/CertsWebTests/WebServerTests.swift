import CertsCore
import CertsEngine
import CertsHTTP
import CertsTesting
import CertsWeb
import Foundation
import Logging
import Testing

/// A quiet logger: what the server says about itself is not what these tests look at.
private let quiet = Logger(label: "web") { _ in SwiftLogNoOpLogHandler() }

private func value(
    _ families: [MetricFamily] = [], _ readiness: PublishedSnapshot.Readiness = .ready
) -> PublishedSnapshot.Value {
    .init(
        exposition: (try? RenderedExposition(rendering: families)) ?? .empty, readiness: readiness,
        renderedAt: Date(timeIntervalSince1970: 1_800_000_000))
}

/// Two gauges, a counter, and one with many samples.
private let families = [
    MetricFamily("certs_a", .gauge, help: "A \\ ü.", samples: [.init(1, ["b": "\""])]),
    MetricFamily("certs_a_total", .counter, help: "B.", samples: [.init(0)]),
    MetricFamily("ssl_cert_info", .info, help: "C.", samples: [.init(1, ["cert": "x"])]),
    MetricFamily(
        "ssl_many", .gauge, help: "Many.", samples: (0..<20_000).map { .init(Double($0), ["n": "\($0)"]) }),
]

/// Runs the real server on a free loopback port for the time of `body`.
private func withServer<Result: Sendable>(
    _ snapshot: PublishedSnapshot = .init(value(families)), limits: WebServer.Limits = .init(),
    _ body: @Sendable @escaping (_ url: String, _ port: Int) async throws -> Result
) async throws -> Result {
    let (bound, continuation) = AsyncStream<ServerDeclaration>.makeStream()
    let server = try WebServer(.init(port: 0), snapshot: snapshot, version: "1.2.3", logger: quiet, limits: limits) {
        continuation.yield($0)
    }
    return try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await server.run() }
        var iterator = bound.makeAsyncIterator()
        let address = try #require(await iterator.next())
        #expect(address.host == "127.0.0.1")
        #expect(address.port > 0)
        let result = try await body("http://127.0.0.1:\(address.port)", address.port)
        group.cancelAll()
        return result
    }
}

private func get(_ url: String, _ method: HTTPRequest.Method = .get, headers: [(name: String, value: String)] = [])
    async throws -> HTTPResponse
{
    try await HTTPClient().send(HTTPRequest(method, url, headers: headers))
}

/// What another program makes of the bytes.
private func gunzip(_ bytes: Data) async throws -> String {
    try await BlockingPool.shared.run {
        let place = try TemporaryDirectory()
        let packed = try place.write(bytes, to: "body.gz")
        return try Tool.run("gzip", "-dc", packed).output
    }
}

@Suite("The web server")
struct WebServerTests {
    @Test("serves the stored exposition byte by byte")
    func metrics() async throws {
        let text = PrometheusText.render(families)
        try await withServer { url, _ in
            let response = try await get(url + "/metrics")
            #expect(response.status == 200)
            #expect(response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8")
            #expect(response.headers["content-length"] == "\(text.utf8.count)")
            #expect(response.headers["cache-control"] == nil)
            #expect(response.headers["x-content-type-options"] == "nosniff")
            #expect(response.headers["access-control-allow-origin"] == nil)
            let isWhole = response.body == Data(text.utf8)
            #expect(isWhole)
        }
    }

    @Test("a scrape sees a whole snapshot, old or new, while it is replaced")
    func replacement() async throws {
        @Sendable func version(_ round: Int) -> PublishedSnapshot.Value {
            let samples = (0..<5000).map { MetricFamily.Sample(Double(round % 10), ["n": "\($0)"]) }
            return value([MetricFamily("x", .gauge, help: "X.", samples: samples)])
        }
        let snapshot = PublishedSnapshot(version(0))
        try await withServer(snapshot) { url, _ in
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { for round in 0..<50 { snapshot.replace(with: version(round)) } }
                for _ in 0..<20 {
                    group.addTask {
                        let body = String(decoding: try await get(url + "/metrics").body, as: UTF8.self)
                        let values = body.split(separator: "\n").dropFirst(2).map { $0.split(separator: " ").last }
                        #expect(values.count == 5000)
                        #expect(Set(values).count == 1)
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test("answers 200 before anything was rendered, and while it is not ready")
    func metricsBeforeReady() async throws {
        try await withServer(.init()) { url, _ in
            #expect(try await get(url + "/metrics").status == 200)
            #expect(try await get(url + "/metrics?family=certs_a").status == 200)
            #expect(try await get(url + "/healthz").status == 200)
            let response = try await get(url + "/readyz")
            #expect(response.status == 503)
            #expect(response.body == Data("not ready: starting\n".utf8))
        }
    }

    @Test(
        "compressed bytes go to who asks for them",
        arguments: [
            ("gzip", true), ("deflate, GZIP;q=0.5", true), ("*", true), ("gzip;q=0", false), ("identity", false),
            ("", false),
        ])
    func gzip(_ accepted: String, _ isCompressed: Bool) async throws {
        let text = PrometheusText.render(families)
        try await withServer { url, _ in
            let headers = accepted.isEmpty ? [] : [(name: "Accept-Encoding", value: accepted)]
            let response = try await get(url + "/metrics", headers: headers)
            #expect(response.headers["content-encoding"] == (isCompressed ? "gzip" : nil))
            #expect(response.headers["vary"]?.contains("Accept-Encoding") == true)
            #expect(response.headers["content-length"] == "\(response.body.count)")
            #expect(isCompressed == (response.body != Data(text.utf8)))
            if isCompressed { #expect(try await gunzip(response.body) == text) }
        }
    }

    @Test(
        "OpenMetrics goes to who asks for it",
        arguments: [
            ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", true),
            ("application/openmetrics-text", true), ("application/openmetrics-text;version=2.0.0", false),
            ("text/plain;version=0.0.4", false), ("*/*", false), ("", false),
            ("application/openmetrics-text;q=0.2,text/plain;q=0.9", false), ("application/openmetrics-text;q=0", false),
        ])
    func negotiation(_ accepted: String, _ isOpenMetrics: Bool) async throws {
        try await withServer { url, _ in
            let headers = accepted.isEmpty ? [] : [(name: "Accept", value: accepted)]
            let response = try await get(url + "/metrics", headers: headers)
            let format = isOpenMetrics ? PrometheusText.Format.openMetrics : .text
            #expect(response.headers["content-type"] == format.contentType)
            #expect(String(decoding: response.body, as: UTF8.self) == PrometheusText.render(families, as: format))
        }
    }

    @Test(
        "filters choose families by name or by its beginning",
        arguments: [
            ("family=certs_a", ["certs_a"]), ("family=certs_*", ["certs_a", "certs_a_total"]),
            ("family=ssl_cert_info&family=certs_a", ["certs_a", "ssl_cert_info"]),
            ("other=1", ["certs_a", "certs_a_total", "ssl_cert_info", "ssl_many"]),
            ("family=%73sl_many", ["ssl_many"]),
        ])
    func filters(_ query: String, _ names: [String]) async throws {
        try await withServer { url, _ in
            let response = try await get(url + "/metrics?" + query)
            let expected = PrometheusText.render(families.filter { names.contains($0.name) })
            #expect(String(decoding: response.body, as: UTF8.self) == expected)
        }
    }

    @Test(
        "a filter that names nothing is refused", arguments: ["family=", "family=certs_b", "family=certs_a&family=x*"])
    func misspelt(_ query: String) async throws {
        try await withServer { url, _ in
            let response = try await get(url + "/metrics?" + query)
            #expect(response.status == 400)
        }
    }

    @Test("a planner that hangs is not healthy, and stays visible")
    func health() async throws {
        let heartbeat = Heartbeat(limit: .zero)
        heartbeat.beat("rotating\r\nX")
        let up = [MetricFamily("up", .gauge, help: "Up.", samples: [.init(1)])]
        let snapshot = PublishedSnapshot(value(up), heartbeat: heartbeat)
        try await withServer(snapshot) { url, _ in
            let response = try await get(url + "/healthz")
            #expect(response.status == 503)
            #expect(
                response.body == Data("stalled: nothing has moved for 0 min since: rotating\\u{d}\\u{a}X\n".utf8))
            #expect(try await get(url + "/metrics").body == Data(PrometheusText.render(up).utf8))
        }
    }

    @Test("readiness follows the snapshot, and its reason cannot forge a line")
    func readiness() async throws {
        let snapshot = PublishedSnapshot(value([], .notReady(reason: "recovering 2 rotations\r\nX")))
        try await withServer(snapshot) { url, _ in
            let before = try await get(url + "/readyz")
            #expect(before.status == 503)
            #expect(before.body == Data("not ready: recovering 2 rotations\\u{d}\\u{a}X\n".utf8))
            snapshot.set(.ready)
            #expect(try await get(url + "/readyz").status == 200)
            #expect(try await get(url + "/healthz").body == Data("ok\n".utf8))
        }
    }

    @Test("the landing page names the program, its version and its paths, and escapes what it shows")
    func landing() async throws {
        try await withServer(.init(value([], .notReady(reason: "<script>")))) { url, _ in
            let response = try await get(url + "/")
            let page = String(decoding: response.body, as: UTF8.self)
            #expect(response.status == 200)
            #expect(response.headers["content-type"] == "text/html; charset=utf-8")
            #expect(response.headers["content-security-policy"]?.hasPrefix("default-src 'none'") == true)
            #expect(response.headers["cache-control"] == "no-store")
            #expect(page.contains("<h1>certs 1.2.3</h1>"))
            for path in ["/metrics", "/healthz", "/readyz"] {
                #expect(page.contains("href=\"\(path)\""))
                #expect(try await get(url + path).status != 404)
            }
            #expect(!page.contains("<script>"))
        }
    }

    @Test("HEAD gives the header of GET and no body", arguments: ["/", "/metrics", "/healthz", "/readyz"])
    func head(_ path: String) async throws {
        try await withServer { url, _ in
            let get = try await get(url + path)
            let head = try await CertsWebTests.get(url + path, .head)
            #expect(head.status == get.status)
            #expect(head.body.isEmpty)
            #expect(head.headers["content-length"] == "\(get.body.count)")
            #expect(head.headers["content-type"] == get.headers["content-type"])
        }
    }

    @Test(
        "every other path is refused, however it is written",
        arguments: [
            "/x", "/metrics/", "//metrics", "/Metrics", "/%6detrics", "/metrics/../healthz", "/..%2fmetrics",
            "/favicon.ico", "/healthz%00",
        ])
    func unknownPaths(_ path: String) async throws {
        try await withServer { _, port in
            let answer = try await exchange(port, "GET \(path) HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            #expect(answer.hasPrefix("HTTP/1.1 404"), "\(answer)")
        }
    }

    @Test("a query is ignored")
    func query() async throws {
        try await withServer { url, _ in
            let response = try await get(url + "/healthz?x=1")
            #expect(response.status == 200)
        }
    }

    @Test(
        "other methods are refused with what is allowed", arguments: [HTTPRequest.Method.post, .put, .delete, .options])
    func wrongMethod(_ method: HTTPRequest.Method) async throws {
        try await withServer { url, _ in
            let response = try await get(url + "/metrics", method)
            #expect(response.status == 405)
            #expect(response.headers["allow"] == "GET, HEAD")
        }
    }

    @Test(
        "a body is refused, however long it says it is",
        arguments: ["Content-Length: 10737418240", "Content-Length: 1", "Transfer-Encoding: chunked"])
    func body(_ header: String) async throws {
        try await withServer { _, port in
            let start = ContinuousClock.now
            let answer = try await exchange(port, "GET /metrics HTTP/1.1\r\nHost: x\r\n\(header)\r\n\r\n")
            #expect(ContinuousClock.now - start < .seconds(60), "the body is not waited for")
            #expect(answer.hasPrefix("HTTP/1.1 413"), "\(answer)")
            #expect(answer.lowercased().contains("connection: close"))
        }
    }

    @Test(
        "garbage and over-long headers are refused and do not harm the next client",
        arguments: [
            "\u{0}\u{1}\u{2}\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "GET / HTTP/1.1\r\nX: " + String(repeating: "x", count: 100_000) + "\r\n\r\n",
            "GET /" + String(repeating: "x", count: 100_000) + " HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\n" + String(repeating: "X: y\r\n", count: 1000) + "\r\n",
        ])
    func garbage(_ text: String) async throws {
        try await withServer { url, port in
            let answer = try await exchange(port, text)
            #expect(!answer.hasPrefix("HTTP/1.1 200"), "\(answer)")
            #expect(try await get(url + "/healthz").status == 200)
        }
    }

    @Test("two requests of one connection are both answered")
    func keepAlive() async throws {
        try await withServer { _, port in
            let one = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
            let answer = try await exchange(
                port, one + one.replacingOccurrences(of: "\r\n\r\n", with: "\r\nConnection: close\r\n\r\n"))
            #expect(answer.components(separatedBy: "HTTP/1.1 200 OK").count == 3)
        }
    }

    @Test("a port that is taken is told with its address and the next step")
    func portInUse() async throws {
        try await withServer { _, port in
            let second = try WebServer(.init(port: port), snapshot: .init(), version: "1", logger: quiet)
            do {
                try await second.run()
                Issue.record("two servers on one port")
            } catch let error as CertsError {
                #expect(error.description.contains("another program listens on 127.0.0.1:\(port)"))
                #expect(error.hint?.contains("server.listen") == true)
            }
        }
    }

    @Test("an address of another host is told as such")
    func foreignAddress() async throws {
        let server = try WebServer(.init(host: "192.0.2.1", port: 0), snapshot: .init(), version: "1", logger: quiet)
        await #expect(
            performing: { try await server.run() },
            throws: { String(describing: $0).contains("192.0.2.1 is no address of this host") })
    }
}

@Suite("The web server and slow clients", .serialized)
struct SlowClientTests {
    @Test("who does not finish a header is hung up on, byte by byte or silent", arguments: [true, false])
    func slowHeader(_ drips: Bool) async throws {
        try await withServer(limits: .init(firstRequest: .milliseconds(200))) { url, port in
            let isClosed = try await blocking {
                let client = try Client(port)
                client.send("GET /metrics HTTP/1.1\r\nX: ")
                return client.isClosed(within: 10, meanwhile: { if drips { client.send("y") } })
            }
            #expect(isClosed)
            let response = try await get(url + "/healthz")
            #expect(response.status == 200)
        }
    }

    @Test("who does not take the answer is hung up on")
    func slowReader() async throws {
        let long = String(repeating: "x", count: 240)
        let samples = (0..<60_000).map { MetricFamily.Sample(Double($0), ["n": long]) }
        let snapshot = PublishedSnapshot(value([MetricFamily("x", .gauge, help: "X.", samples: samples)]))
        try await withServer(snapshot, limits: .init(exchange: .milliseconds(300))) { _, port in
            let isReset = try await blocking {
                let client = try Client(port)
                client.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                // The answer in the kernel's buffer hides the end of the connection; a byte to a closed socket does not.
                return client.isReset(within: 10) { client.send("x") }
            }
            #expect(isReset)
        }
    }

    @Test("who sends a body without end is hung up on")
    func endlessBody() async throws {
        try await withServer(limits: .init(exchange: .milliseconds(300))) { _, port in
            let isReset = try await blocking {
                let client = try Client(port)
                client.send("GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
                return client.isReset(within: 10) { client.send("1\r\nx\r\n") }
            }
            #expect(isReset)
        }
    }

    @Test("who keeps a connection and asks nothing is hung up on")
    func idleConnection() async throws {
        try await withServer(limits: .init(keepAlive: .milliseconds(300))) { _, port in
            let isClosed = try await blocking {
                let client = try Client(port)
                client.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                return client.isClosed(within: 10)
            }
            #expect(isClosed)
        }
    }

    @Test("more clients than connections wait, and a scrape gets through when the slow ones are gone")
    func manySlowClients() async throws {
        try await withServer(limits: .init(connections: 20, firstRequest: .milliseconds(300))) { url, port in
            let clients = try (0..<100).map { _ in try Client(port) }
            for client in clients { client.send("GET /metrics HTTP/1.1\r\n") }
            let response = try await get(url + "/metrics")
            // Not compared inside the expectation: of two long bodies it would look for the shortest difference for hours.
            let isWhole = response.body == Data(PrometheusText.render(families).utf8)
            #expect(isWhole)
            withExtendedLifetime(clients) {}
        }
    }
}
