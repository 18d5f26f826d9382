import CertsCore
import CertsHTTP
import CertsTesting
import Foundation
import Testing

private func failure(_ client: HTTPClient = .init(), _ request: HTTPRequest) async -> CertsError? {
    do {
        _ = try await client.send(request)
        return nil
    } catch {
        return error
    }
}

private let quick = HTTPRequest.Limits(deadline: .milliseconds(400), idle: .seconds(5))

@Suite("The HTTP client")
struct HTTPClientTests {
    @Test("returns status, headers in any case, and the body")
    func get() async throws {
        let server = try RawServer { request, connection in
            #expect(request.hasPrefix("GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1"))
            #expect(request.contains("X-Test: yes\r\n"))
            #expect(request.contains("User-Agent: certs\r\n"))
            connection.write("HTTP/1.1 404 Not Found\r\nContent-LENGTH: 5\r\nX-Twice: 1\r\nx-twice:  2 \r\n\r\nhello")
        }
        let response = try await HTTPClient().send(
            HTTPRequest(.get, server.url + "/a?b=c", headers: [("X-Test", "yes")]))
        #expect(response.status == 404)
        #expect(!response.isSuccess)
        #expect(response.headers["content-length"] == "5")
        #expect(response.headers.all("X-TWICE") == ["1", "2"])
        #expect(response.body == Data("hello".utf8))
    }

    @Test("sends a body as it is, and waits for no 100 Continue", arguments: [0, 5, 100_000])
    func post(_ size: Int) async throws {
        let server = try RawServer { request, connection in
            let body = request.components(separatedBy: "\r\n\r\n").dropFirst().joined()
            #expect(!request.lowercased().contains("expect:"))
            connection.write(
                "HTTP/1.1 200 OK\r\nX-Method: \(request.prefix(4))\r\nConnection: close\r\n\r\n\(body.utf8.count)")
        }
        let body = Data(repeating: UInt8(ascii: "x"), count: size)
        let response = try await HTTPClient().send(
            HTTPRequest(.post, server.url, headers: [("Content-Type", "text/plain")], body: body))
        #expect(String(decoding: response.body, as: UTF8.self) == "\(size)")
        #expect(response.headers["x-method"] == "POST")
    }

    @Test("a HEAD request waits for no body")
    func head() async throws {
        let server = try RawServer { request, connection in
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nX-Method: \(request.prefix(4))\r\n\r\n")
            connection.waitForEnd()
        }
        let response = try await HTTPClient().send(HTTPRequest(.head, server.url, limits: quick))
        #expect(response.status == 200)
        #expect(response.headers["X-Method"] == "HEAD")
        #expect(response.body.isEmpty)
    }

    @Test("speaks through a Unix socket")
    func unixSocket() async throws {
        let path = NSTemporaryDirectory() + "certs-http-\(UUID().uuidString.prefix(8)).sock"
        defer { unlink(path) }
        _ = try RawServer(unixSocket: path) { request, connection in
            connection.write(
                "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\(request.contains("Host: docker") ? "right" : "wrong")")
        }
        let response = try await HTTPClient().send(HTTPRequest(.get, "http://docker/info", unixSocket: path))
        #expect(response.body == Data("right".utf8))
    }

    @Test("a Unix socket that is not there is named")
    func missingUnixSocket() async {
        let error = await failure(.init(), HTTPRequest(.get, "http://docker/info", unixSocket: "/nonexistent/x.sock"))
        #expect(error?.code == .http)
        #expect(error?.retry == .later)
        #expect(error?.description.contains("/nonexistent/x.sock") == true)
    }

    @Test("connects elsewhere and still names the host of the URL")
    func connectTo() async throws {
        let server = try RawServer { request, connection in
            let host = request.split(separator: "\r\n").first { $0.hasPrefix("Host: ") } ?? ""
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: \(host.utf8.count)\r\n\r\n\(host)")
        }
        var request = HTTPRequest(.get, "http://ca.example.com:81/")
        request.connectTo = ("127.0.0.1", Int(server.port))
        let response = try await HTTPClient().send(request)
        #expect(response.body == Data("Host: ca.example.com:81".utf8))
    }

    @Test("follows no redirect")
    func redirect() async throws {
        let server = try RawServer { request, connection in
            #expect(request.hasPrefix("GET / "))
            connection.write("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n")
        }
        let response = try await HTTPClient().send(HTTPRequest(.get, server.url + "/"))
        #expect(response.status == 302)
        #expect(response.headers["location"] == "http://169.254.169.254/")
    }

    @Test(
        "stops a body without end at its limit",
        arguments: ["", "Transfer-Encoding: chunked\r\n", "Content-Length: 10737418240\r\n"])
    func endlessBody(_ header: String) async throws {
        let server = try RawServer { _, connection in
            guard connection.write("HTTP/1.1 200 OK\r\n\(header)\r\n") else { return }
            let bytes = [UInt8](repeating: UInt8(ascii: "x"), count: 65536)
            let chunk = header.contains("chunked") ? Array("10000\r\n".utf8) + bytes + Array("\r\n".utf8) : bytes
            while connection.write(chunk) {}
        }
        let error = await failure(.init(), HTTPRequest(.get, server.url))
        #expect(error?.message.contains("more than 1048576 bytes of body") == true, "\(String(describing: error))")
        #expect(error?.retry == .never)
    }

    @Test("a body of exactly the limit is returned")
    func bodyAtTheLimit() async throws {
        let server = try RawServer { _, connection in
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + String(repeating: "x", count: 1000))
        }
        let response = try await HTTPClient().send(HTTPRequest(.get, server.url, limits: .init(body: 1000)))
        #expect(response.body.count == 1000)
        #expect(await failure(.init(), HTTPRequest(.get, server.url, limits: .init(body: 999)))?.code == .http)
    }

    @Test("does not unpack what is compressed")
    func noDecompression() async throws {
        let server = try RawServer { request, connection in
            #expect(!request.lowercased().contains("accept-encoding"))
            connection.write("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc")
        }
        #expect(try await HTTPClient().send(HTTPRequest(.get, server.url)).body == Data("abc".utf8))
    }

    @Test("stops a header without end", arguments: ["X-A: b\r\n", "x"])
    func endlessHeader(_ piece: String) async throws {
        let server = try RawServer { _, connection in
            connection.write("HTTP/1.1 200 OK\r\nX-Long: ")
            while connection.write(String(repeating: piece, count: 1000)) {}
        }
        let error = await failure(.init(), HTTPRequest(.get, server.url))
        #expect(error?.code == .http)
    }

    @Test("a server that says nothing ends at the deadline")
    func silence() async throws {
        let server = try RawServer { _, connection in connection.waitForEnd() }
        let start = ContinuousClock.now
        let error = await failure(.init(), HTTPRequest(.get, server.url, limits: quick))
        #expect(error?.code == .http)
        #expect(error?.retry == .later)
        #expect(ContinuousClock.now - start < .seconds(60), "without a deadline it would wait for ever")
    }

    @Test("a server that drips ends at the deadline")
    func drip() async throws {
        let server = try RawServer { _, connection in
            connection.write("HTTP/1.1 200 OK\r\n\r\n")
            while connection.write("x") { usleep(20_000) }
        }
        let error = await failure(.init(), HTTPRequest(.get, server.url, limits: quick))
        #expect(error?.message.contains("timed out") == true, "\(String(describing: error))")
    }

    @Test("a server that stops in the middle ends at the idle limit, long before the deadline")
    func stall() async throws {
        let server = try RawServer { _, connection in
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
            connection.waitForEnd()
        }
        let start = ContinuousClock.now
        let error = await failure(
            .init(), HTTPRequest(.get, server.url, limits: .init(deadline: .seconds(60), idle: .seconds(1))))
        #expect(error?.retry == .later)
        #expect(ContinuousClock.now - start < .seconds(20))
    }

    @Test(
        "a connection that is cut gives an error, never half an answer",
        arguments: [
            "", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        ])
    func cut(_ said: String) async throws {
        let server = try RawServer { _, connection in connection.write(said) }
        let error = await failure(.init(), HTTPRequest(.get, server.url))
        #expect(error?.code == .http)
        #expect(error?.retry == .later)
    }

    @Test("garbage instead of HTTP is an error")
    func garbage() async throws {
        let server = try RawServer { _, connection in connection.write([UInt8](repeating: 0xff, count: 2000)) }
        #expect(await failure(.init(), HTTPRequest(.get, server.url))?.code == .http)
    }

    @Test("nobody listens: refused, to be tried later")
    func refused() async throws {
        let port = try LoopbackPort.reserve()
        let error = await failure(.init(), HTTPRequest(.get, "http://127.0.0.1:\(port)/x?token=secret"))
        #expect(error?.retry == .later)
        #expect(error?.subject == "http://127.0.0.1:\(port)/x")
        #expect(error?.description.contains("secret") == false)
    }

    @Test(
        "only http and https, and nothing that could forge a header",
        arguments: [
            HTTPRequest(.get, "file:///etc/passwd"), HTTPRequest(.get, "ftp://127.0.0.1/"),
            HTTPRequest(.get, "127.0.0.1"),
            HTTPRequest(.get, "gopher://127.0.0.1:1/x"), HTTPRequest(.get, ""), HTTPRequest(.get, "http://"),
            HTTPRequest(.get, "http://127.0.0.1/\r\nX: y"),
            HTTPRequest(.get, "http://127.0.0.1/", headers: [("X", "a\r\nY: b")]),
            HTTPRequest(.get, "http://127.0.0.1/", headers: [("X: Z", "a")]),
        ])
    func refusesRequests(_ request: HTTPRequest) async {
        let error = await failure(.init(), request)
        #expect(error?.code == .http)
        #expect(error?.retry == .never)
    }

    @Test("thirty requests at once are all answered")
    func many() async throws {
        let server = try RawServer { request, connection in
            connection.write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\(request.split(separator: " ")[1])")
        }
        let answers = try await withThrowingTaskGroup(of: (Int, String).self) { group in
            for index in 0..<30 {
                group.addTask {
                    let response = try await HTTPClient().send(HTTPRequest(.get, server.url + "/\(index)"))
                    return (index, String(decoding: response.body, as: UTF8.self))
                }
            }
            return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
        #expect(answers == Dictionary(uniqueKeysWithValues: (0..<30).map { ($0, "/\($0)") }))
    }

    @Test("user and query are not shown in messages")
    func hidesSecrets() async {
        let error = await failure(.init(), HTTPRequest(.get, "http://user:pass@127.0.0.1:1/x?key=1#f"))
        #expect(error?.subject == "http://127.0.0.1:1/x")
        #expect(error?.description.contains("pass") == false)
    }
}
