import CertsCore
import CertsTesting
import Foundation
import Testing

@testable import CertsDNS

@Suite("The DNS client and a server that misbehaves", .timeLimit(.minutes(1)))
struct DNSClientTests {
    private static let question = DNSQuestion("name.example.test", .txt)

    private func client(_ server: FakeDNSServer, timeout: Duration = .milliseconds(600)) -> DNSClient {
        DNSClient(server: server.address, timeout: timeout, attempts: 2)
    }

    private func reason(_ client: DNSClient) async -> DNSFailure.Reason? {
        guard case .failure(let failure) = await client.result(of: Self.question) else { return nil }
        return failure.reason
    }

    @Test func readsAnAnswerOverUDP() async throws {
        let server = try FakeDNSServer { query, _ in
            [Message.answer(query, [Message.text("one"), Message.text("two")])]
        }
        let answer = try await client(server).ask(Self.question)
        #expect(answer.records.compactMap(\.text) == ["one", "two"])
        #expect(answer.isAuthoritative)
        #expect(server.udpQueries == 1 && server.tcpQueries == 0)
    }

    @Test func joinsTheStringsOfOneText() async throws {
        let server = try FakeDNSServer { query, _ in
            [Message.answer(query, [Message.record(16, [3] + Array("abc".utf8) + [0] + [2, 0xff, 0x41])])]
        }
        let answer = try await client(server).ask(Self.question)
        #expect(answer.records.map(\.value) == [.text(Array("abc".utf8) + [0xff, 0x41])])
    }

    @Test func asksOverTCPWhatIsCutOff() async throws {
        let server = try FakeDNSServer { query, isTCP in
            // Cut in the middle of a record: it need not parse.
            isTCP
                ? [Message.answer(query, [Message.text("whole")])]
                : [Array(Message.answer(query, flags: 0x86, [Message.text("cut off")]).dropLast(4))]
        }
        #expect(try await client(server).ask(Self.question).records.map(\.text) == ["whole"])
        #expect(server.tcpQueries == 1)
    }

    @Test func reads64KilobytesOverTCP() async throws {
        let server = try FakeDNSServer { query, isTCP in
            guard isTCP else { return [Message.answer(query, flags: 0x86)] }
            let one = Message.text(String(repeating: "x", count: 200))
            return [Message.answer(query, Array(repeating: one, count: 304))]
        }
        #expect(try await client(server, timeout: .seconds(5)).ask(Self.question).records.count == 304)
    }

    @Test func ignoresWhatAnswersAnotherQuestion() async throws {
        let server = try FakeDNSServer { query, _ in
            var other = Message.answer(query, [Message.text("forged")])
            other[0] ^= 0xff
            var name = Message.answer(query, [Message.text("forged")])
            name[13] = UInt8(ascii: "z")
            let isQuery = Message.answer(query, flags: 0x04, [Message.text("forged")])
            return [other, name, isQuery, [1, 2, 3], [], Message.answer(query, [Message.text("right")])]
        }
        #expect(try await client(server).ask(Self.question).records.map(\.text) == ["right"])
    }

    @Test func hearsNobodyButTheServerItAsked() async throws {
        let forger = try FakeDNSServer(fromElsewhere: true) { query, _ in
            [Message.answer(query, [Message.text("forged")])]
        }
        #expect(await reason(client(forger)) == .timeout)
        #expect(forger.udpQueries == 2)
    }

    @Test(arguments: [
        [UInt8](repeating: 0xff, count: 40), [UInt8](repeating: 0, count: 12),
        Array("HTTP/1.1 400 Bad Request\r\n".utf8),
    ])
    func garbageIsNoAnswer(_ garbage: [UInt8]) async throws {
        let server = try FakeDNSServer { query, _ in [query.prefix(2) + garbage] }
        #expect(await reason(client(server)) == .malformed)
    }

    @Test func namesThatPointToThemselvesAreNoAnswer() async throws {
        let server = try FakeDNSServer { query, _ in
            var loop = Message.answer(query, count: 1)
            // A record whose name points to itself, and one whose name points forwards.
            loop += [0xc0, UInt8(loop.count), 0, 16, 0, 1, 0, 0, 0, 5, 0, 1, 0]
            var forward = Message.answer(query, count: 1)
            forward += [0xc0, UInt8(forward.count + 2), 0xc0, UInt8(forward.count), 0, 16, 0, 1, 0, 0, 0, 5, 0, 1, 0]
            return [loop, forward]
        }
        #expect(await reason(client(server)) == .malformed)
    }

    @Test func recordsThatEndTooEarlyAreNoAnswer() async throws {
        let server = try FakeDNSServer { query, _ in
            [
                Message.answer(query, count: 65535, [Message.text("a")]),
                Message.answer(query, [Message.record(16, [200, 1])]),
            ]
        }
        #expect(await reason(client(server)) == .malformed)
    }

    @Test(arguments: [
        (UInt8(2), DNSFailure.Reason.serverFailure), (5, .refused), (1, .code(1)), (4, .code(4)), (9, .code(9)),
    ])
    func errorCodesAreToldApart(_ code: UInt8, _ expected: DNSFailure.Reason) async throws {
        let server = try FakeDNSServer { query, _ in [Message.answer(query, code: code)] }
        #expect(await reason(client(server)) == expected)
    }

    @Test func aServerWithoutEDNSIsAskedWithout() async throws {
        let server = try FakeDNSServer { query, _ in
            // The last of the four counts: the OPT record.
            query[11] == 0 ? [Message.answer(query, [Message.text("plain")])] : [Message.answer(query, code: 1)]
        }
        #expect(try await client(server).ask(Self.question).records.map(\.text) == ["plain"])
    }

    @Test func silenceEndsAtTheDeadlineAndSaysSo() async throws {
        let server = try FakeDNSServer { _, _ in [] }
        let start = ContinuousClock.now
        let error = await #expect(throws: CertsError.self) { try await client(server).ask(Self.question) }
        #expect(ContinuousClock.now - start < .seconds(5))
        #expect(server.udpQueries == 2)
        #expect(error?.code == .dnsFailed && error?.retry == .later)
        #expect(error?.message.contains("name.example.test TXT, did not answer in time") == true)
    }

    @Test func tcpThatHangsOrClosesEndsToo() async throws {
        let silent = try FakeDNSServer { query, isTCP in isTCP ? [] : [Message.answer(query, flags: 0x86)] }
        let failure = await reason(client(silent))
        #expect(failure == .malformed || failure == .timeout)
    }

    @Test func aPortWhereNothingListensIsUnreachable() async throws {
        let port = try LoopbackPort.reserve()
        let address = try #require(SocketAddress("127.0.0.1:\(port)"))
        guard case .unreachable = await reason(DNSClient(server: address, timeout: .seconds(2))) else {
            Issue.record("nothing listens there")
            return
        }
    }

    @Test(arguments: ["", "a..b", String(repeating: "a", count: 64), String(repeating: "abcdefg.", count: 40)])
    func whatIsNoNameIsNotAsked(_ name: String) async throws {
        let server = try FakeDNSServer { query, _ in [Message.answer(query)] }
        let result = await client(server).result(of: DNSQuestion(name, .txt))
        if name.isEmpty {
            #expect((try? result.get())?.outcome == .noData)
        } else {
            guard case .failure(let failure) = result else {
                Issue.record("\(name) was asked")
                return
            }
            #expect(failure.reason == .badName && failure.error.retry == .never)
            #expect(server.udpQueries == 0)
        }
    }

    @Test func oddBytesInNamesAreEscapedAndComeBack() async throws {
        let target: [UInt8] = [4, 0x1b, 0x2e, 0x00, 0x41, 4] + Array("test".utf8) + [0]
        let server = try FakeDNSServer { query, _ in [Message.answer(query, [Message.record(5, target)])] }
        let answer = try await client(server).ask(Self.question)
        #expect(answer.alias(of: Self.question.name) == "\\027\\.\\000a.test")
        let name = try #require(Names.encode("\\027\\.\\000a.test"))
        #expect(Names.decode(name) == "\\027\\.\\000a.test")
    }
}

/// A recursive server that follows no alias itself, as some forwarders do.
@Suite struct AliasTests {
    /// `c0.test` → `c1.test` → … → `cLENGTH.test`, or back to `c0.test` from the last but one.
    private func server(length: Int, isCircle: Bool = false) throws -> FakeDNSServer {
        try FakeDNSServer { query, _ in
            let question = Message.question(query)
            let label = String(decoding: question.dropFirst(2).prefix(Int(question[0]) - 1), as: UTF8.self)
            guard let number = Int(label), number < length else {
                return [Message.answer(query, [Message.text("here")])]
            }
            let next = Array("c\(isCircle && number == length - 1 ? 0 : number + 1)".utf8)
            let target = [UInt8(next.count)] + next + [4] + Array("test".utf8) + [0]
            return [Message.answer(query, [Message.record(5, target)])]
        }
    }

    @Test func aChainIsFollowedStepByStep() async throws {
        let server = try server(length: 15)
        let found = try await Resolver(server: server.address).find("c0.test", .txt)
        #expect(found.canonicalName == "c15.test")
        #expect(found.records.map(\.text) == ["here"])
    }

    @Test func aChainThatIsTooLongIsRefused() async throws {
        let server = try server(length: 1000)
        let error = await #expect(throws: CertsError(.dnsFailed, "")) {
            try await Resolver(server: server.address).find("c0.test", .txt)
        }
        #expect(error?.message.contains("more than 16 names") == true)
        #expect(server.udpQueries < 20)
    }

    @Test func aCircleIsRefused() async throws {
        let server = try server(length: 3, isCircle: true)
        let error = await #expect(throws: CertsError(.dnsFailed, "")) {
            try await Resolver(server: server.address).find("c0.test", .txt)
        }
        #expect(error?.message.contains("leads back to") == true)
    }
}

@Suite struct DomainTextTests {
    @Test(arguments: [
        ("Example.TEST.", "example.test"), (".", ""), ("", ""), ("a\\.", "a\\."), ("a\\\\.", "a\\\\"),
    ])
    func theCanonicalForm(_ text: String, _ expected: String) { #expect(DomainText.canonical(text) == expected) }

    @Test func ancestorsEndWithTheRoot() {
        #expect(DomainText.ancestry(of: "a.b\\.c.test") == ["a.b\\.c.test", "b\\.c.test", "test", ""])
        #expect(DomainText.isWithin("a.example.test", "example.test"))
        #expect(!DomainText.isWithin("badexample.test", "example.test"))
    }

    @Test func theFirstServerOfTheResolverFile() {
        let text =
            "# nameserver 192.0.2.9\nnameserver fe80::1%eth0\n nameserver 192.0.2.1\nnameserver ::1\n"
        #expect(ResolverFile.parse(text) == SocketAddress("192.0.2.1:53"))
        #expect(ResolverFile.parse("search a\n") == nil)
    }
}
