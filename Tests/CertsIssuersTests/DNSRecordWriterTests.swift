import CertsCore
import CertsCrypto
import CertsHTTP
import CertsTesting
import Foundation
import Testing

@testable import CertsIssuers

@Suite("The DNS command", .timeLimit(.minutes(1)))
struct CommandWriterTests {
    private func script(_ text: String, in directory: TemporaryDirectory) throws -> String {
        let path = try directory.write("#!/bin/sh\n\(text)\n", to: "hook")
        guard chmod(path, 0o700) == 0 else { throw POSIXError(.EPERM) }
        return path
    }

    private func failure(_ text: String, timeout: TimeInterval = 10, value: String = "value") async throws -> CertsError
    {
        let directory = try TemporaryDirectory()
        let writer = CommandWriter(arguments: [try script(text, in: directory)], timeout: timeout)
        let error = await #expect(throws: CertsError.self) { try await writer.add(value, at: "_acme-challenge.a.test") }
        return try #require(error)
    }

    @Test func getsItsArgumentsAsTheyAreAndNoShell() async throws {
        let directory = try TemporaryDirectory()
        let output = directory.path("seen")
        let hook = try script(
            "printf '<%s>' \"$@\" >> \(output); env | cut -d= -f1 | sort >> \(output).env", in: directory)
        let writer = CommandWriter(arguments: [hook, "one two", "$(touch x)"], timeout: 10)
        try await writer.add("a;b`c`", at: "n.test")
        try await writer.remove("a;b`c`", at: "n.test")
        let seen = try String(contentsOfFile: output, encoding: .utf8)
        #expect(
            seen == "<one two><$(touch x)><present><n.test><a;b`c`>" + "<one two><$(touch x)><remove><n.test><a;b`c`>")
        let variables = Set(try String(contentsOfFile: output + ".env", encoding: .utf8).split(separator: "\n"))
        #expect(variables.isSuperset(of: ["HOME", "PATH"]))
        #expect(variables.subtracting(["HOME", "PATH", "LC_ALL", "PWD", "SHLVL", "_", "OLDPWD"]).isEmpty)
    }

    @Test func aFailureTellsTheExitCodeAndTheLastWords() async throws {
        let error = try await failure("echo first; echo \"$1 $2\" >&2; printf 'bad\\033[2Jzone\\n' >&2; exit 3")
        #expect(error.code == .challengeFailed)
        #expect(error.message.contains("'hook present _acme-challenge.a.test' failed (exit code 3)"))
        #expect(error.message.contains("present _acme-challenge.a.test | bad\\u{1b}[2Jzone"))
        #expect(!error.message.contains("\u{1b}"))
    }

    @Test func hangingEndsAtTheDeadlineWithItsChildren() async throws {
        let directory = try TemporaryDirectory()
        let pids = directory.path("pids")
        let start = ContinuousClock.now
        let error = try await failure("sleep 300 & echo $! $$ > \(pids); wait", timeout: 0.5)
        #expect(ContinuousClock.now - start < .seconds(20))
        #expect(error.message.contains("did not end within 0.5 s"))
        let children = try String(contentsOfFile: pids, encoding: .utf8).split(whereSeparator: \.isWhitespace)
            .compactMap { Int32($0) }
        #expect(children.count == 2)
        let end = ContinuousClock.now + .seconds(20)
        while ContinuousClock.now < end, children.contains(where: { isRunning($0) }) {
            try await Task.sleep(for: .milliseconds(20))
        }
        #expect(!children.contains(where: { isRunning($0) }))
    }

    /// A zombie is not: whoever is process 1 here may not wait for it.
    private func isRunning(_ pid: Int32) -> Bool {
        guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8) else { return false }
        return !text.contains(") Z")
    }

    @Test func megabytesEndIt() async throws {
        let error = try await failure("yes | head -c 8000000 >&2")
        #expect(error.message.contains("could not be run") && error.hint?.contains("how much it prints") == true)
    }

    @Test(arguments: ["/nonexistent/hook", "no-such-program-at-all", ""])
    func whatCannotBeRunIsNamed(_ program: String) async throws {
        let writer = CommandWriter(arguments: [program], timeout: 5)
        let error = await #expect(throws: CertsError.self) { try await writer.add("v", at: "a.test") }
        #expect(error?.code == (program.isEmpty ? .configurationInvalid : .challengeFailed))
        #expect(error?.hint?.isEmpty == false)
    }
}

/// Python's HTTPS server with a certificate for localhost; it answers by the path.
private final class WebhookServer {
    let directory: TemporaryDirectory
    let port: Int
    private let child: Int32

    private static let program = """
        import http.server, json, ssl, sys, time

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/hang":
                    time.sleep(60)
                with open(sys.argv[1] + "/seen", "a") as seen:
                    seen.write(json.dumps([self.path, self.headers.get("Authorization"), json.loads(body)]) + "\\n")
                status = {"/ok": 204, "/moved": 302, "/denied": 403}.get(self.path, 500)
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/ok")
                self.end_headers()
                if status == 500:
                    self.wfile.write(b"<html>\\x1b[2Joops " + b"x" * 3000)
                if status == 403:
                    self.wfile.write(b"who are you?")

            def log_message(self, *words):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1] + "/server.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.serve_forever()
        """

    init() async throws {
        directory = try TemporaryDirectory()
        port = try LoopbackPort.reserve()
        let pki = try TestPKI()
        try directory.write(
            try pki.leaf(["localhost"]).bundle(chain: [pki.intermediate.certificate]), to: "server.pem")
        try directory.write(pki.root.certificate.pem, to: "root.pem")
        try directory.writeSecret("s3cret-token\n", to: "token")
        let program = try directory.write(Self.program, to: "server.py")
        child = try Tool.start(
            ["python3", program, directory.path, "\(port)"], output: directory.path("log"))
        let port = port
        try await BlockingPool.network.run {
            for _ in 0..<1000 {
                if UnixSocket.accepts(port: port) { return }
                usleep(10_000)
            }
        }
    }

    deinit {
        kill(child, SIGKILL)
        Tool.wait(for: child)
    }

    func writer(_ path: String) -> WebhookWriter {
        WebhookWriter(
            url: "https://localhost:\(port)\(path)", tokenFile: directory.path("token"),
            caFile: directory.path("root.pem"))
    }

    var seen: [String] {
        ((try? String(contentsOfFile: directory.path("seen"), encoding: .utf8)) ?? "").split(separator: "\n").map(
            String.init)
    }
}

@Suite("The DNS webhook", .timeLimit(.minutes(1)))
struct WebhookWriterTests {
    @Test func getsTheRecordAndTheToken() async throws {
        let server = try await WebhookServer()
        try await server.writer("/ok").add("va\"l/ue", at: "_acme-challenge.a.test")
        try await server.writer("/ok").remove("v", at: "b.test")
        let start = "[\"/ok\", \"Bearer s3cret-token\", {\"action\": "
        #expect(
            server.seen == [
                "\(start)\"present\", \"name\": \"_acme-challenge.a.test\", \"value\": \"va\\\"l/ue\"}]",
                "\(start)\"remove\", \"name\": \"b.test\", \"value\": \"v\"}]",
            ])
    }

    @Test(arguments: [
        ("/fail", "answered 500 to 'present' of a.test: <html>\\u{1b}[2Joops", "look into the log"),
        ("/denied", "answered 403 to 'present' of a.test: who are you?", "check the token file"),
        ("/moved", "answered 302 to 'present' of a.test", "redirects are not followed"),
    ])
    func whatIsNoSuccessIsAnError(_ path: String, _ message: String, _ hint: String) async throws {
        let server = try await WebhookServer()
        let error = await #expect(throws: CertsError.self) { try await server.writer(path).add("v", at: "a.test") }
        #expect(error?.code == .challengeFailed)
        #expect(error?.message.contains(message) == true && (error?.message.count ?? 0) < 600)
        #expect(error?.hint?.contains(hint) == true)
        #expect(error?.description.contains("s3cret") == false)
        #expect(server.seen.count == 1)
    }

    @Test func hangingEndsAtTheDeadline() async throws {
        let server = try await WebhookServer()
        var writer = server.writer("/hang")
        writer.limits.deadline = .milliseconds(500)
        let error = await #expect(throws: CertsError.self) { try await writer.add("v", at: "a.test") }
        #expect(error?.code == .http && error?.retry == .later)
    }

    @Test func onlyTheGivenCAIsTrustedAndOnlyHTTPSIsUsed() async throws {
        let server = try await WebhookServer()
        let system = WebhookWriter(url: server.writer("/ok").url, tokenFile: nil, caFile: nil)
        let untrusted = await #expect(throws: CertsError.self) { try await system.add("v", at: "a.test") }
        #expect(untrusted?.code == .http)
        let plain = WebhookWriter(url: "http://localhost:\(server.port)/ok", tokenFile: nil, caFile: nil)
        let refused = await #expect(throws: CertsError.self) { try await plain.add("v", at: "a.test") }
        #expect(refused?.code == .configurationInvalid)
        #expect(server.seen.isEmpty)
    }

    @Test func aTokenOnSeveralLinesIsRefused() async throws {
        let server = try await WebhookServer()
        try server.directory.writeSecret("one\r\nX-Injected: two", to: "token")
        let error = await #expect(throws: CertsError.self) { try await server.writer("/ok").add("v", at: "a.test") }
        #expect(error?.message.contains("control characters") == true)
        #expect(server.seen.isEmpty)
    }

    @Test(arguments: [("", CertsError.Code.fileUnreadable), (String(repeating: "x", count: 70_000), .fileTooLarge)])
    func aTokenFileThatIsNoneIsNamed(_ content: String, _ code: CertsError.Code) async throws {
        let server = try await WebhookServer()
        try server.directory.writeSecret(content, to: "token")
        let error = await #expect(throws: CertsError.self) { try await server.writer("/ok").add("v", at: "a.test") }
        #expect(error?.code == code && error?.subject == server.directory.path("token"))
    }
}
