import CertsCore
import CertsTesting
import Foundation
import Testing

@testable import CertsIssuers

@Suite struct HTTP01SolverTests {
    static let badTokens = ["../../etc/passwd", "a/b", "$(touch x)", "", ".hidden", "a b"]

    @Test func servesTheKeyAuthorizationAndNothingElse() async throws {
        let scene = try await ChallengeScene()
        let solver = scene.http()
        let proof = ChallengeScene.proof(.http01)
        try await solver.present(proof)
        func ask(_ line: String) async throws -> String {
            try await ChallengeScene.exchange("\(line) HTTP/1.1\r\nHost: www.example.com\r\n\r\n", at: scene.address)
        }
        let path = "/.well-known/acme-challenge/"
        let right = try await ask("GET \(path)\(proof.token)")
        #expect(right.hasPrefix("HTTP/1.1 200 ") && right.hasSuffix("\r\n\r\n\(proof.keyAuthorization)"))
        #expect(right.contains("Content-Type: application/octet-stream"))
        let head = try await ask("HEAD \(path)\(proof.token)")
        #expect(head.hasPrefix("HTTP/1.1 200 ") && head.hasSuffix("\r\n\r\n"))
        for other in [
            path, path + "abc", path + proof.token + "/", path + "../" + proof.token, path + "%2e%2e%2fx", "/",
            "/.well-known/acme-challenge", path + proof.token + "?x", path + String(repeating: "x", count: 3000),
        ] {
            let answer = try await ask("GET \(other)")
            #expect(answer.hasPrefix("HTTP/1.1 404 ") && !answer.contains(proof.keyAuthorization), "\(other)")
        }
        #expect(try await ask("POST \(path)\(proof.token)").hasPrefix("HTTP/1.1 405 "))
        try await solver.remove(proof)
        #expect(
            !LoopbackClient(port: scene.address.port).isConnected, "it listens only while there is something to show")
    }

    @Test(arguments: badTokens) func aTokenThatIsNoneIsWrittenNowhere(_ token: String) async throws {
        let scene = try await ChallengeScene()
        let folder = scene.directory.path("www")
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let proof = ChallengeScene.proof(.http01, token: token)
        for solver in [scene.http(), scene.http(.directory(folder))] {
            await #expect(throws: CertsError(.issuerRefused, "")) { try await solver.present(proof) }
            await #expect(throws: CertsError(.issuerRefused, "")) { try await solver.remove(proof) }
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == [])
        #expect(scene.files(.http01) == [])
        #expect(!LoopbackClient(port: scene.address.port).isConnected)
    }

    @Test func twoIssuersShareOneListener() async throws {
        let scene = try await ChallengeScene()
        let (first, second) = (scene.http(), scene.http())
        let (one, two) = (ChallengeScene.proof(.http01), ChallengeScene.proof(.http01))
        try await first.present(one)
        try await second.present(two)
        try await first.check(two)
        try await first.remove(one)
        try await second.check(two)
        try await second.remove(two)
        #expect(!LoopbackClient(port: scene.address.port).isConnected)
    }

    @Test func aPortOfAStrangerIsNamedByTheSelfCheck() async throws {
        let scene = try await ChallengeScene()
        let stranger = try ScriptedHTTP { _ in ScriptedHTTP.response(404, "<html>\u{1b}[2Jnot found</html>") }
        let solver = HTTP01Solver(
            .listen(stranger.address), names: [], selfCheck: SelfCheck(address: stranger.address, timeout: 0.3),
            files: scene.state, logger: ChallengeScene.logger)
        let proof = ChallengeScene.proof(.http01)
        try await solver.present(proof)
        let error = await #expect(throws: CertsError.self) { try await solver.check(proof) }
        #expect(error?.code == .challengeFailed)
        #expect(error?.message.contains("status 404 and '<html>\\u{1b}[2Jnot found</html>'") == true)
        #expect(error?.hint?.contains("\(stranger.address) is in use") == true)
        try await solver.remove(proof)
        withExtendedLifetime(stranger) {}
    }

    @Test func anAddressOfAnotherHostFailsAtOnce() async throws {
        let scene = try await ChallengeScene()
        let other = try #require(SocketAddress("192.0.2.1:8402"))
        let solver = scene.http(.listen(other))
        await #expect(throws: CertsError(.listenFailed, "")) { try await solver.present(ChallengeScene.proof(.http01)) }
        #expect(scene.files(.http01) == [])
    }
}

/// The listener against clients that mean no good.
@Suite struct HTTP01ResponderTests {
    struct Site: Sendable {
        let responder: HTTP01Responder
        let address: SocketAddress

        init(_ limits: HTTP01Responder.Limits = .init()) throws {
            address = try ChallengeScene.address(LoopbackPort.reserve())
            responder = try HTTP01Responder(
                address, limits: limits,
                ShownProofs { _ in
                    nil
                } elsewhere: {
                    $0 == "token" ? "token.thumbprint" : nil
                })
        }

        func answers() async throws -> Bool {
            let request = "GET /.well-known/acme-challenge/token HTTP/1.1\r\nHost: a\r\n\r\n"
            return try await ChallengeScene.exchange(request, at: address).hasSuffix("token.thumbprint")
        }
    }

    enum Attack: CaseIterable {
        case hugeRequestLine, hugeHeader, endlessHeaders, hugeBody, zeros, tlsHello, noVersion, pipelined, nul

        var bytes: [UInt8] {
            let start = "GET /.well-known/acme-challenge/token HTTP/1.1\r\nHost: a\r\n"
            let text =
                switch self {
                case .hugeRequestLine: "GET /" + String(repeating: "x", count: 1 << 20)
                case .hugeHeader: start + "X: " + String(repeating: "x", count: 1 << 20)
                case .endlessHeaders: start + String(repeating: "X: y\r\n", count: 100_000)
                case .hugeBody: start + "Content-Length: 1000000\r\n\r\n" + String(repeating: "x", count: 1_000_000)
                case .zeros: String(repeating: "\0", count: 100_000)
                case .tlsHello: "\u{16}\u{3}\u{1}\u{1}\u{0}\u{1}\u{0}"
                case .noVersion: "GET /.well-known/acme-challenge/token\r\n\r\n"
                case .pipelined: String(repeating: start + "\r\n", count: 100)
                case .nul: "GET /.well-known/acme-challenge/to\0ken HTTP/1.1\r\nHost: a\r\n\r\n"
                }
            return Array(text.utf8)
        }
    }

    @Test(arguments: Attack.allCases) func anAttackEndsItsConnectionAndNothingElse(_ attack: Attack) async throws {
        var limits = HTTP01Responder.Limits()
        limits.exchange = .seconds(2)
        let site = try Site(limits)
        let answer = try await ChallengeScene.exchange(attack.bytes, at: site.address)
        // At most one answer, and never of more than a few bytes.
        #expect(answer.utf8.count < 1000)
        #expect(answer.components(separatedBy: "HTTP/1.1 ").count <= 2)
        #expect(try await site.answers())
        await site.responder.stop()
    }

    @Test func aClientThatDripsIsCutOff() async throws {
        var limits = HTTP01Responder.Limits()
        limits.exchange = .milliseconds(300)
        let site = try Site(limits)
        let sent = try await BlockingPool.network.run {
            let client = LoopbackClient(port: site.address.port)
            // One byte every ten milliseconds: never idle, never done.
            for count in 0..<1000 {
                if !client.send([UInt8(ascii: "x")]) { return count }
                usleep(10_000)
            }
            return 1000
        }
        #expect(sent < 500)
        #expect(try await site.answers())
        await site.responder.stop()
    }

    @Test func aThousandSilentConnectionsKeepNobodyOut() async throws {
        var limits = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limits)
        if limits.rlim_cur < 4096 {
            limits.rlim_cur = min(4096, limits.rlim_max)
            setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limits)
        }
        var bounds = HTTP01Responder.Limits()
        bounds.exchange = .seconds(60)
        let site = try Site(bounds)
        let silent = try await BlockingPool.network.run {
            (0..<1000).map { _ in LoopbackClient(port: site.address.port) }
        }
        #expect(silent.filter(\.isConnected).count == 1000)
        #expect(try await site.answers())
        await site.responder.stop()
        withExtendedLifetime(silent) {}
    }
}
