import CertsCore
import CertsTesting
import Foundation
import Testing

@testable import CertsHAProxy

@Suite struct RuntimeConnectionTests {
    let directory: TemporaryDirectory
    var socket: String { directory.path("s") }

    init() throws { directory = try TemporaryDirectory(prefix: "hap") }

    private func list(deadline: Duration = .seconds(5)) async throws -> RuntimeReply.CertificateList {
        let reply = try await RuntimeConnection(socket: socket, deadline: deadline).send(.listCertificates)
        return try RuntimeReply.certificateList(reply)
    }

    @Test func saysThatThereIsNoSocket() async {
        let failure = await error { _ = try await list() }
        #expect(failure?.code == .targetUnreachable)
        #expect(failure?.message.contains(socket) == true)
        #expect(failure?.hint?.contains("stats socket \(socket) mode 660 level admin") == true)
    }

    @Test func saysThatNobodyListens() async throws {
        try FakeHAProxy(at: socket, certificates: []).stop()
        let failure = await error { _ = try await list() }
        #expect(failure?.code == .targetUnreachable)
    }

    @Test func saysThatAFileIsNoSocket() async throws {
        try directory.write("not a socket", to: "s")
        #expect(await code { _ = try await list() } == .targetUnreachable)
    }

    @Test func namesTheGroupThatMayOpenTheSocket() throws {
        try directory.write("", to: "s")
        let failure = RuntimeConnection(socket: socket).explain(errno: EACCES, POSIXError(.EACCES))
        #expect(failure.code == .targetUnreachable)
        #expect(failure.hint?.contains("group '\(getegid() == 0 ? "root" : "")") == true)
    }

    @Test func refusesAPathThatIsTooLong() async {
        let connection = RuntimeConnection(socket: "/" + String(repeating: "x", count: 200))
        #expect(await code { _ = try await connection.send(.listCertificates) } == .configurationInvalid)
    }

    @Test(arguments: [
        (FakeHAProxy.Behaviour.hang, CertsError.Code.targetTimeout), (.hangUp, .targetUnexpectedReply),
        (.cut(after: 5), .targetUnexpectedReply), (.flood(1 << 20), .targetUnexpectedReply),
        (.flood(5 << 20), .targetUnexpectedReply),
        (.reply("220 smtp.example.com ESMTP\r\n"), .targetUnexpectedReply),
        (.reply("Permission denied\n\n"), .targetRefused),
    ])
    func namesEachMisbehaviour(behaviour: FakeHAProxy.Behaviour, expected: CertsError.Code) async throws {
        let fake = try FakeHAProxy(at: socket, certificates: ["/a.pem"]) { _, _ in behaviour }
        defer { fake.stop() }
        let failure = await error {
            _ = try await list(deadline: expected == .targetTimeout ? .milliseconds(200) : .seconds(20))
        }
        #expect(failure?.code == expected)
        #expect(failure?.hint != nil)
    }

    @Test func waitsForAReplyThatComesInPieces() async throws {
        let fake = try FakeHAProxy(at: socket, certificates: ["/a.pem"]) { _, _ in .byteByByte }
        defer { fake.stop() }
        #expect(try await list().names == ["/a.pem"])
    }

    @Test func holdsManyConversationsAtOnce() async throws {
        let fake = try FakeHAProxy(at: socket, certificates: ["/a.pem"])
        defer { fake.stop() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<32 {
                group.addTask {
                    let names = try await list().names
                    #expect(names == ["/a.pem"])
                }
            }
            try await group.waitForAll()
        }
    }
}
