import CertsCore
import CertsDocker
import CertsHTTP
import CertsTesting
import Foundation
import Testing

@testable import CertsHAProxy

/// Engines that misbehave, and the reading of what a good one says.
@Suite struct DockerEngineTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory(prefix: "dkr") }

    private func findings(_ socket: String, reply: Duration = .milliseconds(300)) async -> [Finding] {
        let container = DockerContainer(selector: .name("haproxy"), engineSocket: socket)
        return await DockerReloader(container: container, reply: reply).check(bundlePaths: ["/certs/server.pem"])
    }

    // MARK: Sockets

    @Test func seesThatThereIsNoSocket() async throws {
        let found = await findings(directory.path("docker.sock"))
        #expect(found.map(\.id) == ["docker-unreachable"])
        #expect(found.first?.message.contains("there is no socket") == true)
        #expect(found.first?.remedy.contains("systemctl start docker") == true)
    }

    @Test func seesThatNobodyListens() async throws {
        let path = try directory.write("", to: "docker.sock")
        let found = await findings(path)
        #expect(found.map(\.id) == ["docker-unreachable"])
        #expect(found.first?.message.contains("no Docker Engine listens") == true)
    }

    @Test func doesNotWaitForAnEngineThatHangs() async throws {
        let engine = try FakeDockerEngine(at: directory.path("docker.sock")) { _ in nil }
        let found = await findings(engine.path)
        #expect(found.map(\.id) == ["docker-timeout"])
        #expect(found.first?.message.contains("did not answer within") == true)
        withExtendedLifetime(engine) {}
    }

    @Test(arguments: [
        (ENOENT, CertsError.Code.targetUnreachable, "there is no socket"),
        (EACCES, .targetRefused, "may not use the socket"), (ECONNREFUSED, .targetUnreachable, "no Docker Engine"),
        (ENAMETOOLONG, .targetUnreachable, "cannot connect"),
    ])
    func tellsWhyItCannotConnect(code: Int32, is expected: CertsError.Code, says: String) {
        let failure = DockerFailure.cannotConnect(code, socket: "/run/docker.sock")
        #expect(failure.code == expected)
        #expect(failure.message.contains(says))
        #expect(failure.hint?.isEmpty == false)
    }

    // MARK: Replies

    private static let version = #"{"ApiVersion":"1.41","MinAPIVersion":"1.12"}"#

    /// An engine that answers `/version` properly and `inspect` with `body`.
    private func engine(_ body: String, status: String = "200 OK") throws -> FakeDockerEngine {
        try FakeDockerEngine(at: directory.path("docker.sock")) { request in
            request.contains(" /version ")
                ? FakeDockerEngine.reply(Self.version) : FakeDockerEngine.reply(body, status: status)
        }
    }

    @Test(arguments: [
        ("", "200 OK", CertsError.Code.targetUnexpectedReply), ("{}", "200 OK", .targetUnexpectedReply),
        (#"{"message":"no"}"#, "404 Not Found", .targetUnreachable),
        (#"{"message":"Multiple IDs found with provided prefix: a"}"#, "500 Oh", .targetAmbiguous),
        (#"{"message":"multiple IDs found with provided prefix: a"}"#, "400 Bad", .targetAmbiguous),
        (#"{"message":"is not running"}"#, "409 Conflict", .targetRefused),
        (#"{"message":"not you"}"#, "403 Forbidden", .targetRefused),
        ("\u{1b}[31mred\nlines", "502 Bad Gateway", .targetUnexpectedReply), ("", "500 Oh", .targetUnexpectedReply),
    ])
    func mapsEachAnswer(body: String, status: String, expected: CertsError.Code) async throws {
        let fake = try engine(body, status: status)
        let engine = try await DockerEngine.connect(to: fake.path, reply: .seconds(20))
        let failure = await error { _ = try await engine.find(.name("haproxy")) }
        #expect(failure?.code == expected)
        #expect(failure?.hint?.isEmpty == false)
        #expect(failure?.message.contains("\u{1b}") == false)
        withExtendedLifetime(fake) {}
    }

    @Test func takesNoAnswerWithoutABound() async throws {
        let fake = try engine(#"{"Id":"\#(String(repeating: "a", count: 2 << 20))"}"#)
        let engine = try await DockerEngine.connect(to: fake.path, reply: .seconds(20))
        let failure = await error { _ = try await engine.find(.name("haproxy")) }
        #expect(failure?.code == .targetUnreachable)
        #expect(failure?.message.contains("more than") == true)
        withExtendedLifetime(fake) {}
    }

    /// Docker 29 refuses what is older than 1.44.
    @Test(arguments: [
        ("1.41", "1.12", "1.41"), ("1.52", "1.44", "1.44"), ("1.40", "1.12", "1.40"), ("1.52", nil, "1.41"),
    ])
    func speaksAVersionThatTheEngineKnows(latest: String, oldest: String?, spoken: String) async throws {
        let path = directory.path("docker.sock")
        let fake = try FakeDockerEngine(at: path) { _ in
            FakeDockerEngine.reply(
                #"{"ApiVersion":"\#(latest)"\#(oldest.map { #","MinAPIVersion":"\#($0)""# } ?? "")}"#)
        }
        #expect(try await DockerEngine.connect(to: path, reply: .seconds(20)).version == spoken)
        withExtendedLifetime(fake) {}
    }

    @Test(arguments: ["[]", "{}", #"{"ApiVersion":"newest"}"#, #"{"ApiVersion":"1.41.2"}"#, "<html>"])
    func recognisesWhatIsNoEngine(answer: String) async throws {
        let fake = try FakeDockerEngine(at: directory.path("docker.sock")) { _ in FakeDockerEngine.reply(answer) }
        let found = await findings(fake.path, reply: .seconds(20))
        #expect(found.map(\.id) == ["docker-unreachable"])
        withExtendedLifetime(fake) {}
    }

    /// Whatever a name is, the request goes to its own place and nowhere else.
    @Test func encodesEachComponentOfAPath() async throws {
        let fake = try FakeDockerEngine(at: directory.path("docker.sock")) { request in
            FakeDockerEngine.reply(request.contains(" /version ") ? Self.version : request)
        }
        let engine = try await DockerEngine.connect(to: fake.path, reply: .seconds(20))
        let line = try await engine.send(.get, ["a", "../b?c#d", "é "], query: [("x", "1&y=2")])
        #expect(
            String(decoding: line, as: UTF8.self) == "GET /v1.41/a/..%2fb%3fc%23d/%c3%a9%20?x=1%26y%3d2 HTTP/1.1")
        withExtendedLifetime(fake) {}
    }

    @Test(arguments: [
        ("haproxy", true), ("shop_lb_1", true), ("a.b-c", true), ("", false), (".", false), ("..", false),
        ("-a", false), ("a/b", false), ("a b", false), ("a%2f", false), ("é", false), ("a\n", false),
        (String(repeating: "a", count: 256), false),
    ])
    func knowsWhatCanNameAContainer(text: String, can: Bool) {
        #expect(DockerContainer.isName(text) == can)
    }

    // MARK: Streams and tables

    private static func frame(_ stream: UInt8, _ text: String) -> [UInt8] {
        [stream, 0, 0, 0, 0, 0, UInt8(text.utf8.count >> 8), UInt8(text.utf8.count & 255)] + Array(text.utf8)
    }

    @Test func readsFramesAndWhatHasNone() {
        let long = String(repeating: "x", count: 300)
        #expect(
            DockerStream.text(Data(Self.frame(1, "one\n") + Self.frame(2, long) + Self.frame(1, ""))) == "one\n" + long)
        #expect(DockerStream.text(Data("raw text of a terminal\r\n".utf8)) == "raw text of a terminal\r\n")
        #expect(DockerStream.text(Data()) == "")
        // Cut off in its text, and a length that no frame has.
        #expect(DockerStream.text(Data(Self.frame(1, "whole").dropLast(2))) == "who")
        #expect(DockerStream.text(Data([1, 0, 0, 0, 255, 255, 255, 255, 97])) == "a")
    }

    @Test(arguments: [
        ("00:07", 7), ("01:02", 62), ("03:00:01", 10801), ("2-01:00:00", 176_400), ("", nil), ("1", nil),
        ("a:b", nil), ("1:2:3:4", nil), ("x-1:00:00", nil), ("99999999999:00", nil),
    ])
    func readsAnElapsedTime(text: String, seconds: Double?) {
        #expect(ProcessTable.seconds(text) == seconds)
    }

    @Test func refusesATableOfOtherColumns() async {
        for row in [["1"], ["x", "1", "00:01", "haproxy"], []] {
            let table = ProcessTable(titles: ["PID", "PPID", "ELAPSED", "COMMAND"], processes: [row])
            #expect(await code { _ = try table.decoded() } == .targetUnexpectedReply)
        }
        #expect(await code { _ = try ProcessTable(titles: [], processes: [[]]).decoded() } == .targetUnexpectedReply)
    }

    /// What Docker 20.10 says of a container that ends at this moment.
    @Test func takesATableWithoutProcesses() throws {
        let table = try JSONDecoder().decode(
            ProcessTable.self, from: Data(#"{"Titles":["PID","PPID","ELAPSED","COMMAND"],"Processes":null}"#.utf8))
        #expect(try table.decoded() == [])
    }
}
