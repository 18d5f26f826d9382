import CertsCore
import CertsTesting
import Foundation
import Testing

@testable import CertsDNS

/// A primary for some zones that is also the resolver.
struct BINDScene {
    let directory: TemporaryDirectory
    let server: RealBIND
    var resolver: Resolver

    init() async throws {
        directory = try TemporaryDirectory()
        let records = """
            ns1 A 127.0.0.1
            ns2 A 127.0.0.2
            www A 192.0.2.1
            www AAAA 2001:db8::1
            alias CNAME www
            far CNAME there.other.test.
            loop1 CNAME loop2
            loop2 CNAME loop1
            dangling CNAME nowhere
            text TXT "one" "two"
            text TXT "three"
            @ CAA 0 issue "ca.test"
            strict CAA 128 tbs "unknown"
            strict CAA 0 IssueWild ";"
            caa-alias CNAME there.other.test.
            _acme-challenge.moved CNAME moved.other.test.
            """
        let chain = (0..<20).map { "c\($0) CNAME c\($0 + 1)" }.joined(separator: "\n")
        server = try await RealBIND.start(
            in: directory,
            zones: [
                .init("example.test", servers: ["ns1", "ns2"], records: "\(records)\n\(chain)"),
                .init("other.test", records: "ns1 A 127.0.0.1\nthere A 192.0.2.7\nthere CAA 0 issue \"other-ca.test\""),
                .init("open.test", .primary(takesUnsigned: true)),
                .init("broken.test", .broken),
            ])
        resolver = try Resolver(server: server.address)
        resolver.authoritativePort = server.address.port
    }
}

@Suite("A real BIND", .timeLimit(.minutes(2)))
struct RealZonesTests {
    @Test func everyTypeOfRecordIsRead() async throws {
        let scene = try await BINDScene()
        let client = scene.resolver.client
        let text = try await client.ask(DNSQuestion("text.example.test", .txt))
        #expect(Set(text.records.compactMap(\.text)) == ["onetwo", "three"])
        let caa = try await client.ask(DNSQuestion("strict.EXAMPLE.test.", .caa))
        #expect(
            Set(caa.records.map(\.value)) == [
                .caa(CAARecord(flags: 128, tag: "tbs", value: "unknown")),
                .caa(CAARecord(tag: "issuewild", value: ";")),
            ])
        let zone = try await client.ask(DNSQuestion("example.test", .soa)).records
        #expect(zone.map(\.value) == [.zone(primary: "ns1.example.test", serial: 1)])
        let servers = try await client.ask(DNSQuestion("example.test", .ns)).records.map(\.value)
        #expect(Set(servers) == [.nameServer("ns1.example.test"), .nameServer("ns2.example.test")])
        let addresses = try await scene.resolver.addresses(of: "alias.example.test").map(\.description)
        #expect(addresses == ["192.0.2.1", "2001:db8::1"])
    }

    @Test func noNameNoRecordAndNoAnswerAreToldApart() async throws {
        let scene = try await BINDScene()
        #expect(try await scene.resolver.find("www.example.test", .txt).outcome == .noData)
        #expect(try await scene.resolver.find("nothing.example.test", .txt).outcome == .noSuchName)
        let broken = await scene.resolver.client.result(of: DNSQuestion("www.broken.test", .txt))
        guard case .failure(let failure) = broken else {
            Issue.record("a broken zone answers")
            return
        }
        #expect(failure.reason == .serverFailure)
    }

    @Test func aliasesAreFollowedAcrossZones() async throws {
        let scene = try await BINDScene()
        let far = try await scene.resolver.find("far.example.test", .a)
        #expect(far.names == ["far.example.test", "there.other.test"])
        #expect(far.records.map(\.value) == [.address(try #require(IPAddress("192.0.2.7")))])
        let dangling = try await scene.resolver.find("dangling.example.test", .txt)
        #expect(dangling.canonicalName == "nowhere.example.test" && dangling.outcome == .noSuchName)
        // The alias leads to a name that does not exist yet: this is where a challenge goes.
        let moved = try await scene.resolver.find("_acme-challenge.moved.example.test", .txt)
        #expect(moved.canonicalName == "moved.other.test")
    }

    @Test(arguments: ["loop1.example.test", "c0.example.test"])
    func chainsWithoutEndAreRefused(_ name: String) async throws {
        let scene = try await BINDScene()
        let error = await #expect(throws: CertsError.self) { try await scene.resolver.find(name, .txt) }
        #expect(error?.code == .dnsFailed)
        // Newer releases of BIND give up by themselves.
        let words = ["leads back to", "more than 16 names", "SERVFAIL"]
        #expect(words.contains { error?.message.contains($0) == true }, "\(String(describing: error))")
    }

    @Test func theZoneOfANameAndItsServersAreFound() async throws {
        let scene = try await BINDScene()
        #expect(try await scene.resolver.client.zone(of: "a.b.c.example.test") == "example.test")
        #expect(try await scene.resolver.client.zone(of: "alias.example.test") == "example.test")
        let servers = try await scene.resolver.authoritativeServers(of: "_acme-challenge.www.example.test")
        #expect(servers.map(\.name) == ["ns1.example.test", "ns2.example.test"])
        #expect(servers.map(\.address.address.description) == ["127.0.0.1", "127.0.0.2"])
        await #expect(throws: CertsError(.dnsFailed, "")) {
            try await scene.resolver.authoritativeServers(of: "a.nowhere")
        }
    }

    @Test func caaIsLookedForUpTheTree() async throws {
        let scene = try await BINDScene()
        let inherited = try #require(try await scene.resolver.relevantCAA(for: "deep.down.example.test"))
        #expect(inherited.name == "example.test" && inherited.records.map(\.value) == ["ca.test"])
        let own = try #require(try await scene.resolver.relevantCAA(for: "strict.example.test"))
        #expect(own.records.count == 2)
        let alias = try #require(try await scene.resolver.relevantCAA(for: "caa-alias.example.test"))
        #expect(alias.records.map(\.value) == ["other-ca.test"])
        #expect(try await scene.resolver.relevantCAA(for: "www.open.test") == nil)
        await #expect(throws: CertsError(.dnsFailed, "")) {
            try await scene.resolver.relevantCAA(for: "www.broken.test")
        }
    }
}

@Suite("Dynamic updates on a real BIND", .timeLimit(.minutes(2)))
struct DynamicUpdateTests {
    private func texts(_ scene: BINDScene, _ name: String) async throws -> [String] {
        try await scene.resolver.find(name, .txt).records.compactMap(\.text).sorted()
    }

    private func key(
        _ name: String = RealBIND.keyName, _ algorithm: DNSProvider.TransactionKey.Algorithm = .hmacSHA256,
        secret: String = RealBIND.secret
    ) throws -> TransactionKey {
        try TransactionKey(name: name, algorithm: algorithm, secret: Secret(copying: Array(secret.utf8)))
    }

    @Test(arguments: [
        (RealBIND.keyName, DNSProvider.TransactionKey.Algorithm.hmacSHA256), ("Certs-Key-512.", .hmacSHA512),
    ])
    func oneValueComesAndGoesBesideOthers(
        _ name: String, _ algorithm: DNSProvider.TransactionKey.Algorithm
    ) async throws {
        let scene = try await BINDScene()
        let update = DynamicUpdate(server: scene.server.address, key: try key(name, algorithm))
        let place = "_acme-challenge.www.example.test"
        try await update.add("first", at: place)
        try await update.add("second", at: place)
        try await update.add("second", at: place)
        #expect(try await texts(scene, place) == ["first", "second"])
        try await update.delete("first", at: place)
        try await update.delete("never there", at: place)
        #expect(try await texts(scene, place) == ["second"])
        try await update.delete("second", at: place)
        try await update.delete("second", at: place)
        #expect(try await texts(scene, place) == [])
    }

    @Test func longValuesAreSplitAndJoined() async throws {
        let scene = try await BINDScene()
        let value = String(repeating: "0123456789", count: 70)
        let update = DynamicUpdate(server: scene.server.address, zone: "open.test")
        try await update.add(value, at: "long.open.test")
        #expect(try await texts(scene, "long.open.test") == [value])
        try await update.delete(value, at: "long.open.test")
        #expect(try await texts(scene, "long.open.test") == [])
    }

    struct Refused: Sendable, CustomTestStringConvertible {
        var key = RealBIND.keyName
        var algorithm = DNSProvider.TransactionKey.Algorithm.hmacSHA256
        var secret: String? = RealBIND.secret
        var zone: String?
        var name = "_acme-challenge.www.example.test"
        var says: String
        var testDescription: String { says }
    }

    @Test(arguments: [
        Refused(key: "no-such-key", says: "BADKEY"), Refused(secret: "d3Jvbmcgc2VjcmV0IQ==", says: "BADSIG"),
        Refused(algorithm: .hmacSHA512, says: "BADKEY"), Refused(secret: nil, says: "REFUSED"),
        Refused(zone: "elsewhere.invalid", name: "a.elsewhere.invalid", says: "NOTAUTH"),
        Refused(zone: "other.test", says: "NOTZONE"),
    ])
    func aRefusalSaysWhyAndWhatToDo(_ refused: Refused) async throws {
        let scene = try await BINDScene()
        let key = try refused.secret.map { try self.key(refused.key, refused.algorithm, secret: $0) }
        let update = DynamicUpdate(server: scene.server.address, zone: refused.zone, key: key)
        let error = await #expect(throws: CertsError.self) { try await update.add("value", at: refused.name) }
        #expect(error?.code == .dnsUpdateRefused && error?.retry == .never)
        #expect(error?.message.contains(refused.says) == true, "\(String(describing: error))")
        #expect(error?.hint?.isEmpty == false)
        #expect(error?.description.contains(RealBIND.secret) == false)
    }

    @Test func aClockThatIsWrongIsToldApart() {
        let refusal = UpdateRefusal(
            server: SocketAddress(address: IPAddress("127.0.0.1")!, port: 53), zone: "example.test", name: "a",
            keyName: "key")
        let signature = TransactionSignature(
            owner: "key", algorithm: "hmac-sha256.", time: 1000, error: 18, otherTime: 4600)
        let error = refusal.error(code: 9, signature: signature)
        #expect(error.message.contains("BADTIME, our clock is 3600 s behind the server's"))
        #expect(error.hint?.contains("NTP") == true && error.retry == .later)
    }

    @Test(arguments: ["", "not base64!", "abc", "YWJj\n"])
    func aSecretThatIsNoneIsRefused(_ secret: String) {
        #expect(throws: CertsError(.configurationInvalid, "")) { try key(secret: secret) }
    }

    @Test func anAnswerThatIsNotSignedIsNotBelieved() async throws {
        let server = try FakeDNSServer { query, isTCP in
            isTCP ? [[query[0], query[1], 0xa8, 0, 0, 0, 0, 0, 0, 0, 0, 0]] : []
        }
        let update = DynamicUpdate(server: server.address, zone: "example.test", key: try key())
        let error = await #expect(throws: CertsError.self) { try await update.add("value", at: "a.example.test") }
        #expect(error?.code == .dnsFailed && error?.message.contains("is not signed with the key") == true)
    }

    @Test func theQuestionSentBackWithItsSignatureIsNotBelieved() async throws {
        let server = try FakeDNSServer { query, isTCP in
            var reflected = query
            reflected[2] |= 0x80
            return isTCP ? [reflected] : []
        }
        let update = DynamicUpdate(server: server.address, zone: "example.test", key: try key())
        let error = await #expect(throws: CertsError.self) { try await update.add("value", at: "a.example.test") }
        #expect(error?.message.contains("is not signed with the key") == true)
    }

    @Test func aServerThatHangsEndsAtTheDeadline() async throws {
        let server = try FakeDNSServer { _, _ in [] }
        let update = DynamicUpdate(
            server: server.address, zone: "example.test", key: try key(), timeout: .milliseconds(300))
        let error = await #expect(throws: CertsError.self) { try await update.add("value", at: "a.example.test") }
        #expect(error?.code == .dnsFailed && error?.retry == .later)
    }
}
