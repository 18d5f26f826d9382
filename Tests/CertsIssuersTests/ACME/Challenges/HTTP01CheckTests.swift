import CertsCore
import CertsTesting
import Foundation
import Synchronization
import Testing

@testable import CertsCrypto
@testable import CertsIssuers

@Suite struct HTTP01CheckTests {
    static func run(
        _ server: ScriptedHTTP, _ proof: ChallengeProof, port: Int? = nil, timeout: TimeInterval = 1
    ) async throws {
        try await HTTP01Check(SelfCheck(address: server.address, port: port, timeout: timeout)).run(proof)
        withExtendedLifetime(server) {}
    }

    struct Wrong: Sendable, CustomStringConvertible {
        let description: String
        let response: String
        let seen: String
    }

    @Test(arguments: [
        Wrong(description: "page", response: ScriptedHTTP.response(200, "<html>Welcome"), seen: "'<html>Welcome'"),
        Wrong(description: "missing", response: ScriptedHTTP.response(404, ""), seen: "status 404"),
        Wrong(description: "no backend", response: ScriptedHTTP.response(503, "busy"), seen: "status 503 and 'busy'"),
        Wrong(
            description: "escapes", response: ScriptedHTTP.response(500, "\u{1b}]0;x\u{7}\n"),
            seen: "'\\u{1b}]0;x\\u{7}'"),
        Wrong(
            description: "flood", response: ScriptedHTTP.response(200, String(repeating: "x", count: 100_000)),
            seen: "more than 65536 bytes"),
        Wrong(description: "silence", response: "", seen: "Empty reply"),
        Wrong(description: "no HTTP", response: "SSH-2.0-OpenSSH\r\n", seen: "Received HTTP/0.9"),
        Wrong(
            description: "redirect to another port",
            response: ScriptedHTTP.response(302, "", "Location: http://www.example.com:8080/x"), seen: "port 8080"),
        Wrong(
            description: "redirect to a file", response: ScriptedHTTP.response(301, "", "Location: file:///etc/passwd"),
            seen: "which no CA follows"),
        Wrong(description: "redirect nowhere", response: ScriptedHTTP.response(301, ""), seen: "redirect"),
        Wrong(
            description: "redirect in a circle", response: ScriptedHTTP.response(307, "", "Location: /again"),
            seen: "more than 10 redirects"),
    ])
    func saysWhatWasSeenInstead(_ wrong: Wrong) async throws {
        let server = try ScriptedHTTP { _ in wrong.response }
        let error = await #expect(throws: CertsError.self) {
            try await Self.run(server, ChallengeScene.proof(.http01))
        }
        #expect(error?.code == .challengeFailed && error?.retry == .later)
        #expect(error?.message.contains(wrong.seen) == true, "\(error?.message ?? "")")
        #expect(error?.hint?.isEmpty == false)
    }

    @Test func aClosedPortIsTold() async throws {
        let scene = try await ChallengeScene()
        let error = await #expect(throws: CertsError.self) {
            try await HTTP01Check(scene.selfCheck(timeout: 0.2)).run(ChallengeScene.proof(.http01))
        }
        #expect(error?.message.lowercased().contains("connect") == true)
        #expect(error?.hint?.contains("port 80") == true)
    }

    @Test func aNameWithoutAddressIsTold() async throws {
        let proof = ChallengeScene.proof(.http01, .dns("nothing.invalid"))
        let error = await #expect(throws: CertsError.self) {
            try await HTTP01Check(SelfCheck(timeout: 0.2)).run(proof)
        }
        #expect(error?.code == .challengeFailed)
        #expect(error?.message.contains("nothing.invalid") == true)
    }

    @Test func looksAgainUntilItIsThere() async throws {
        let proof = ChallengeScene.proof(.http01)
        let count = Mutex(0)
        let server = try ScriptedHTTP { _ in
            let attempt = count.withLock { count in
                count += 1
                return count
            }
            // With white space at the end, which does not count.
            return attempt < 3
                ? ScriptedHTTP.response(503, "") : ScriptedHTTP.response(200, proof.keyAuthorization + "\r\n")
        }
        try await Self.run(server, proof, timeout: 10)
        #expect(count.withLock { $0 } == 3)
    }

    @Test(arguments: ["/moved/TOKEN?x=1", "//www.example.com/moved", "http://www.example.com/moved"])
    func followsRedirectsToTheSameHost(_ location: String) async throws {
        let proof = ChallengeScene.proof(.http01)
        let server = try ScriptedHTTP { request in
            request.contains("/moved")
                ? ScriptedHTTP.response(200, proof.keyAuthorization)
                : ScriptedHTTP.response(302, "", "Location: \(location)")
        }
        try await Self.run(server, proof)
    }

    @Test func followsARedirectToHTTPSWithAnyCertificate() async throws {
        let proof = ChallengeScene.proof(.http01)
        let identity = try TestPKI().selfSigned(["other.example.com"])
        let tls = try TLSListener(try ChallengeScene.address(LoopbackPort.reserve())) { _ in
            TLSListener.Identity(chain: [identity.certificate], key: identity.key)
        } handle: { connection in
            guard (try? connection.read(within: .seconds(5)))?.isEmpty == false else { return }
            try? connection.write(
                Array(ScriptedHTTP.response(200, proof.keyAuthorization).utf8), within: .seconds(5))
        }
        let port = tls.address.port
        let server = try ScriptedHTTP { _ in
            ScriptedHTTP.response(301, "", "Location: https://www.example.com:\(port)/x")
        }
        try await Self.run(server, proof, port: port, timeout: 5)
        withExtendedLifetime(tls) {}
    }

    @Test(arguments: [("192.0.2.7", "192.0.2.7"), ("2001:db8::7", "[2001:db8::7]")])
    func asksForAnAddressInItsOwnForm(_ text: String, _ host: String) async throws {
        let proof = ChallengeScene.proof(.http01, .ip(try #require(IPAddress(text))))
        let server = try ScriptedHTTP { request in
            request.lowercased().contains("\r\nhost: \(host)\r\n")
                ? ScriptedHTTP.response(200, proof.keyAuthorization) : ScriptedHTTP.response(400, request)
        }
        try await Self.run(server, proof)
    }
}

@Suite struct ChallengeFolderTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test func theFileIsForEverybodyToRead() throws {
        let folder = ChallengeFolder(path: directory.path)
        try folder.write("token.thumbprint", token: "token")
        try folder.write("token.thumbprint", token: "token")
        #expect(try String(contentsOfFile: directory.path("token"), encoding: .utf8) == "token.thumbprint")
        let attributes = try FileManager.default.attributesOfItem(atPath: directory.path("token"))
        #expect(attributes[.posixPermissions] as? Int == 0o644)
        try folder.remove(token: "token")
        try folder.remove(token: "token")
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == [])
    }

    @Test(arguments: ["token", ".token.tmp"]) func aLinkIsReplacedAndNotFollowed(_ name: String) throws {
        let victim = try directory.write("precious", to: "victim")
        try FileManager.default.createSymbolicLink(atPath: directory.path(name), withDestinationPath: victim)
        let folder = ChallengeFolder(path: directory.path)
        try folder.write("token.thumbprint", token: "token")
        #expect(try String(contentsOfFile: victim, encoding: .utf8) == "precious")
        #expect(try String(contentsOfFile: directory.path("token"), encoding: .utf8) == "token.thumbprint")
        try folder.remove(token: "token")
        #expect(FileManager.default.fileExists(atPath: victim))
    }

    @Test func aDirectoryThatIsMissingIsTold() throws {
        let folder = ChallengeFolder(path: directory.path("nothing"))
        #expect(throws: CertsError(.fileMissing, "")) { try folder.write("x", token: "token") }
        try folder.remove(token: "token")
    }
}
