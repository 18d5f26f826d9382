import CertsCore
import CertsDNS
import CertsTesting
import Foundation
import Logging
import Testing

@testable import CertsIssuers

/// A primary, a secondary that looks for changes once a second, and a third server that never learns anything.
private struct DNSScene {
    let directory: TemporaryDirectory
    let primary: RealBIND
    let secondary: RealBIND
    let stale: RealBIND
    let provider: DNSProvider

    init() async throws {
        directory = try TemporaryDirectory()
        let two = ["ns1", "ns2"]
        let addresses = "ns1 A 127.0.0.1\nns2 A 127.0.0.2\nns3 A 127.0.0.3"
        let lagging = RealBIND.Zone(
            "example.test", servers: two,
            records:
                "\(addresses)\n_acme-challenge.moved CNAME moved.other.test.\n_acme-challenge.loop CNAME _acme-challenge.loop"
        )
        let stuck = RealBIND.Zone("stuck.test", servers: ["ns1", "ns3"], records: addresses)
        primary = try await RealBIND.start(in: directory, zones: [lagging, stuck, .init("other.test")])
        let port = primary.address.port
        secondary = try await RealBIND.start(
            in: directory, address: "127.0.0.2", port: port,
            zones: [.init("example.test", .secondary(of: primary.address), servers: two)])
        stale = try await RealBIND.start(
            in: directory, address: "127.0.0.3", port: port,
            zones: [
                .init(
                    "stuck.test", servers: ["ns1", "ns3"],
                    records: "\(addresses)\n_acme-challenge.www TXT \"an old one\"")
            ])
        let secret = try directory.writeSecret(RealBIND.secret + "\n", to: "tsig.secret")
        provider = .rfc2136(
            server: primary.address, zone: nil, key: .init(name: RealBIND.keyName, secretFile: secret))
    }

    func solver(
        _ type: ChallengeType = .dns01, timeout: TimeInterval = 20, servers: [SocketAddress] = [], names: [String] = []
    ) -> DNSSolver {
        var solver = DNSSolver(
            type: type, provider: provider,
            propagation: Propagation(servers: servers, resolver: primary.address, timeout: timeout, interval: 0.2),
            names: names, logger: Logger(label: "test"))
        solver.authoritativePort = primary.address.port
        return solver
    }

    func texts(_ name: String, at server: RealBIND? = nil) async throws -> [String] {
        let answer = try await DNSClient(server: (server ?? primary).address).ask(DNSQuestion(name, .txt))
        return answer.records.compactMap(\.text).sorted()
    }
}

private func proof(
    _ domain: String, type: ChallengeType = .dns01, isWildcard: Bool = false, token: String = "token"
) -> ChallengeProof {
    ChallengeProof(
        type: type, identifier: .dns(domain), isWildcard: isWildcard, token: token, keyAuthorization: "\(token).thumb",
        accountURL: "https://example.com/acme/acct/ExampleAccount", issuerDomains: ["ca.test", "other-ca.test"])
}

@Suite("DNS challenges on real BINDs", .timeLimit(.minutes(3)))
struct DNSSolverTests {
    @Test func severalProofsAtOneNameComeAndGoAndEveryServerIsAsked() async throws {
        let scene = try await DNSScene()
        let solver = scene.solver()
        let apex = proof("example.test", token: "apex")
        let wildcard = proof("example.test", isWildcard: true, token: "wild")
        try await solver.present(apex)
        try await solver.present(wildcard)
        try await solver.present(wildcard)
        let name = "_acme-challenge.example.test"
        let values = try [apex, wildcard].map { try DNSRecordPlan($0).value }.sorted()
        #expect(try await scene.texts(name) == values)
        try await solver.check(apex)
        try await solver.check(wildcard)
        // It came back only when the secondary had them.
        #expect(try await scene.texts(name, at: scene.secondary) == values)
        try await solver.remove(apex)
        #expect(try await scene.texts(name) == [try DNSRecordPlan(wildcard).value])
        try await solver.remove(wildcard)
        try await solver.remove(wildcard)
        #expect(try await scene.texts(name) == [])
    }

    @Test func theServersThatDoNotShowItAreNamed() async throws {
        let scene = try await DNSScene()
        let solver = scene.solver(timeout: 1.5)
        let wanted = proof("www.stuck.test")
        try await solver.present(wanted)
        let error = await #expect(throws: CertsError.self) { try await solver.check(wanted) }
        #expect(error?.code == .challengeFailed && error?.retry == .later)
        let message = try #require(error?.message)
        #expect(message.contains("1 of 2 DNS servers do not show the record at _acme-challenge.www.stuck.test"))
        #expect(message.contains("ns3.stuck.test (127.0.0.3:"))
        #expect(message.contains("shows \"an old one\""))
        #expect(!message.contains("ns1.stuck.test"))
    }

    @Test func configuredServersAreAskedInsteadAndSilenceIsNamed() async throws {
        let scene = try await DNSScene()
        let wanted = proof("www.stuck.test")
        try await scene.solver().present(wanted)
        try await scene.solver(servers: [scene.primary.address]).check(wanted)
        let nobody = SocketAddress(address: scene.primary.address.address, port: try LoopbackPort.reserve())
        let error = await #expect(throws: CertsError.self) {
            try await scene.solver(timeout: 1, servers: [scene.primary.address, nobody]).check(wanted)
        }
        #expect(error?.message.contains("\(nobody) cannot be reached") == true)
    }

    @Test func aliasesLeadToWhereTheRecordIsWritten() async throws {
        let scene = try await DNSScene()
        let solver = scene.solver()
        let moved = proof("moved.example.test")
        try await solver.present(moved)
        #expect(try await scene.texts("moved.other.test") == [try DNSRecordPlan(moved).value])
        try await solver.check(moved)
        try await solver.remove(moved)
        #expect(try await scene.texts("moved.other.test") == [])
        let error = await #expect(throws: CertsError.self) { try await solver.present(proof("loop.example.test")) }
        #expect(error?.code == .dnsFailed)
    }

    @Test func eachAccountHasALabelOfItsOwn() async throws {
        let scene = try await DNSScene()
        let solver = scene.solver(.dnsAccount01)
        let wanted = proof("example.test", type: .dnsAccount01)
        try await solver.present(wanted)
        // The example of draft-ietf-acme-dns-account-label.
        let name = "_ujmmovf2vn55tgye._acme-challenge.example.test"
        #expect(try await scene.texts(name) == [try DNSRecordPlan(wanted).value])
        try await solver.check(wanted)
        try await solver.remove(wanted)
        #expect(try await scene.texts(name) == [])
    }

    @Test func aPersistentRecordIsWrittenOnceAndStays() async throws {
        let scene = try await DNSScene()
        let solver = scene.solver(.dnsPersist01)
        let apex = proof("example.test", type: .dnsPersist01)
        let wildcard = proof("example.test", type: .dnsPersist01, isWildcard: true)
        try await solver.present(wildcard)
        // The record for the wildcard is enough for the name itself.
        try await solver.present(apex)
        try await solver.check(apex)
        try await solver.check(wildcard)
        try await solver.remove(wildcard)
        #expect(
            try await scene.texts("_validation-persist.example.test") == [
                "ca.test; accounturi=https://example.com/acme/acct/ExampleAccount; policy=wildcard"
            ])
    }

    @Test func aMissingSecretIsToldBeforeAnythingIsSent() async throws {
        let scene = try await DNSScene()
        let provider = DNSProvider.rfc2136(
            server: scene.primary.address, zone: nil,
            key: .init(name: RealBIND.keyName, secretFile: scene.directory.path("none")))
        let error = await #expect(throws: CertsError.self) { try await provider.writer.add("v", at: "a.example.test") }
        #expect(error?.code == .fileMissing && error?.message.contains("TSIG") == true)
    }

    @Test func pebblesServerWorksThroughACommand() async throws {
        let directory = try TemporaryDirectory()
        let (port, management) = (try LoopbackPort.reserve(), try LoopbackPort.reserve())
        let child = try Tool.start(
            [
                "pebble-challtestsrv", "-dns01", "127.0.0.1:\(port)", "-management", "127.0.0.1:\(management)",
                "-http01",
                "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", "",
            ], output: directory.path("log"))
        defer {
            kill(child, SIGKILL)
            Tool.wait(for: child)
        }
        try await BlockingPool.network.run {
            for _ in 0..<500 {
                if UnixSocket.accepts(port: management) { return }
                usleep(10_000)
            }
        }
        let server = try #require(SocketAddress("127.0.0.1:\(port)"))
        let hook = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../challtestsrv-dns")
        let solver = DNSSolver(
            type: .dns01,
            provider: .command([hook.standardizedFileURL.path, "http://127.0.0.1:\(management)"], timeout: 20),
            propagation: Propagation(servers: [server], resolver: server, timeout: 10, interval: 0.1), names: [],
            logger: Logger(label: "test"))
        let wanted = proof("pebble.test")
        try await solver.present(wanted)
        try await solver.check(wanted)
        try await solver.remove(wanted)
        let answer = try await DNSClient(server: server).ask(DNSQuestion("_acme-challenge.pebble.test", .txt))
        #expect(answer.records.isEmpty)
    }
}

@Suite struct DNSRecordPlanTests {
    @Test func theValueIsTheDigestOfTheKeyAuthorization() throws {
        // printf %s token.thumb | openssl dgst -sha256 -binary | base64 | tr +/ -_ | tr -d =
        let plan = try DNSRecordPlan(proof("example.test"))
        #expect(plan.name == "_acme-challenge.example.test")
        #expect(plan.value == "lCdftpJCXapaZHkBGIZbcubeKW8RmA0jSG_aZN01zbU")
    }

    @Test func anAddressHasNoRecord() throws {
        var wanted = proof("example.test")
        wanted.identifier = .ip(try #require(IPAddress("192.0.2.1")))
        #expect(throws: CertsError(.challengeFailed, "")) { try DNSRecordPlan(wanted) }
    }

    @Test(arguments: [[], [""], ["ca.test; policy=wildcard"], ["ca test"], ["ca.test\u{1b}"]])
    func aPersistentRecordTakesNoIssuerThatIsNone(_ domains: [String]) {
        var wanted = proof("example.test", type: .dnsPersist01)
        wanted.issuerDomains = domains
        #expect(throws: CertsError(.challengeFailed, "")) { try DNSRecordPlan(wanted) }
    }

    @Test(arguments: [
        ("ca.test; accounturi=https://example.com/acme/acct/ExampleAccount", true, false),
        ("OTHER-CA.test;accounturi=https://example.com/acme/acct/ExampleAccount;policy=Wildcard", true, true),
        ("ca.test; accounturi=https://example.com/acme/acct/Another", false, false),
        ("third-ca.test; accounturi=https://example.com/acme/acct/ExampleAccount", false, false),
        ("ca.test", false, false), ("v=spf1 -all", false, false),
        ("ca.test; accounturi=https://example.com/acme/acct/ExampleAccount; persistUntil=2000", false, false),
        ("ca.test; accounturi=https://example.com/acme/acct/ExampleAccount; persistUntil=9000", true, false),
        ("ca.test; accounturi=https://example.com/acme/acct/ExampleAccount; persistUntil=soon", false, false),
    ])
    func whatIsThereMayBeEnough(_ value: String, _ forName: Bool, _ forWildcard: Bool) {
        let now = Date(timeIntervalSince1970: 3000)
        let wanted = proof("example.test", type: .dnsPersist01)
        #expect(PersistentRecord.isSufficient(value, for: wanted, now: now) == forName)
        let wildcard = proof("example.test", type: .dnsPersist01, isWildcard: true)
        #expect(PersistentRecord.isSufficient(value, for: wildcard, now: now) == forWildcard)
    }

    @Test(arguments: [
        ([], "example.test", false, true), (["example.test"], "example.test", false, true),
        (["example.test"], "a.Example.test", true, true), (["example.test"], "badexample.test", false, false),
        (["*.example.test"], "example.test", true, true), (["*.example.test"], "example.test", false, false),
        (["*.example.test"], "a.example.test", true, true), (["a.test"], "example.test", true, false),
        (["a.test", "Example.test"], "example.test", false, true),
    ])
    func aSolverIsMeantForItsNames(_ names: [String], _ domain: String, _ isWildcard: Bool, _ expected: Bool) throws {
        let solver = DNSSolver(
            type: .dns01, provider: .command(["true"], timeout: 1), propagation: Propagation(), names: names,
            logger: Logger(label: "test"))
        #expect(solver.isMeant(for: .dns(domain), isWildcard: isWildcard) == expected)
        #expect(!solver.isMeant(for: .ip(try #require(IPAddress("192.0.2.1"))), isWildcard: false))
    }
}
