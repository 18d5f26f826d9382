import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Synchronization
import Testing

/// A HAProxy that is not there, does not answer, answers with errors, or is used by somebody else at the same time.
@Suite struct BadBalancerTests {
    @Test func `a socket that is missing or that nobody listens at`() async throws {
        let scene = try await RotationScene.make(.init(reload: "{ method: runtime, socket: DIR/other.sock }"))
        let before = try await scene.served()
        let missing = try await scene.certs("rotate", "messenger", exits: 1)
        #expect(
            (missing.text + missing.errors).contains("there is no socket at \(scene.directory.path("other.sock"))"),
            "\(missing.all)")
        #expect((missing.text + missing.errors).contains("stats socket"), "\(missing.all)")
        // A socket whose process has ended leaves its file.
        try await tool(
            "python3", "-c",
            "import socket; socket.socket(socket.AF_UNIX).bind('\(scene.directory.path("other.sock"))')")
        let refused = try await scene.certs("rotate", "messenger", exits: 1)
        #expect((refused.text + refused.errors).contains("nobody listens at the socket"), "\(refused.all)")
        #expect(try await scene.served() == before)
        #expect(try scene.onDisk().record.sha256 == before)
        #expect(try await scene.history().map(\.outcome) == ["failed", "failed"])
        #expect(try scene.orphans() == [])
    }

    @Test func `a socket that accepts and never answers ends within the deadline`() async throws {
        let scene = try await RotationScene.make(.init(reload: "{ method: runtime, socket: DIR/hangs.sock }"))
        let before = try await scene.served()
        let fake = try FakeHAProxy(at: scene.directory.path("hangs.sock"), certificates: []) { _, _ in .hang }
        defer { fake.stop() }
        let run = try await scene.certs("rotate", "messenger", exits: 1)
        #expect((run.text + run.errors).contains("did not answer"), "\(run.all)")
        #expect(run.seconds < 30)
        #expect(try await scene.served() == before)
        #expect(try scene.onDisk().record.sha256 == before)
    }

    struct Refusal: Sendable, CustomTestStringConvertible {
        let command: String
        let reply: String
        /// Whether HAProxy was told before the answer is lost.
        var isDone = false
        var testDescription: String { "\(command): \(reply.prefix(40))" }
    }

    static let refusals = [
        Refusal(command: "show ssl cert", reply: "Permission denied\n\n"),
        Refusal(command: "show ssl cert", reply: "Can't allocate memory!\n\n"),
        Refusal(command: "show ssl cert", reply: ""),
        Refusal(command: "abort", reply: "Permission denied\n\n"),
        Refusal(command: "set", reply: "Permission denied\n\n"),
        Refusal(
            command: "set",
            reply: "unable to load certificate from file 'x'.\nCan't load the payload\nCan't update x!\n\n"),
        Refusal(command: "set", reply: "Transaction updated for certificate /somebody/else.pem!\n\n"),
        Refusal(command: "set", reply: "", isDone: true),
        Refusal(
            command: "commit",
            reply: "inconsistencies between private key and certificate loaded 'x'.\nCan't commit x!\n\n"),
        Refusal(command: "commit", reply: "Committing x.\nFailed!\n\n"),
        Refusal(command: "commit", reply: ""),
        Refusal(command: "commit", reply: "", isDone: true),
        Refusal(command: "commit", reply: "Comm", isDone: true),
    ]

    /// After the first rotation one command goes wrong once; the certificate that is served is then the old one, on disk
    /// too (unless HAProxy did what it was told, and only said so badly), nothing is left open, and the next rotation
    /// works.
    @Test(arguments: refusals)
    func `an error at any command leaves one certificate everywhere`(_ refusal: Refusal) async throws {
        let scene = try await RotationScene.make(.init(reload: "{ method: runtime, socket: DIR/between.sock }"))
        let isArmed = Mutex(false)
        let real = scene.balancer.socket
        let between = try FakeHAProxy(at: scene.directory.path("between.sock"), certificates: []) { _, command in
            let isDue = isArmed.withLock { armed in
                guard armed, command.hasPrefix(refusal.command) else { return false }
                armed = false
                return true
            }
            guard isDue else { return .forward(to: real) }
            if refusal.isDone {
                // The payload is not at hand here: what was set is committed, or what is set is lost.
                if command.hasPrefix("commit") { _ = try? FakeHAProxy.ask(real, Data("\(command)\n".utf8)) }
            }
            return .reply(refusal.reply)
        }
        defer { between.stop() }
        try await scene.certs("rotate", exits: 0)
        let before = try await scene.served()
        isArmed.withLock { $0 = true }
        let run = try await scene.certs("rotate", "messenger")
        #expect(!isArmed.withLock { $0 }, "the command was never sent")
        let status = try await scene.expectOneTruth("\(run.all)")
        if refusal.isDone, refusal.command == "commit" {
            // HAProxy has committed, and only its answer was lost: that is found out, not guessed.
            #expect(run.status == 0, "\(run.all)")
            #expect(status.sha256 != before)
        } else {
            #expect([1, 5, 6].contains(run.status), "\(run.all)")
            #expect(status.sha256 == before, "\(run.all)")
            #expect(try #require(try await scene.history().first?.failure).message.isEmpty == false)
        }
        let served = try await scene.served()
        try await scene.certs("rotate", "messenger", exits: 0)
        #expect(try await scene.expectOneTruth().sha256 != served)
    }

    @Test func `a transaction of somebody else is refused and left alone`() async throws {
        let scene = try await RotationScene.make()
        try await scene.certs("rotate", exits: 0)
        let before = try await scene.served()
        let path = scene.directory.path("certs/default.pem")
        let other = try scene.pki.selfSigned(["default.example.net"])
        try await blocking.run {
            _ = try scene.balancer.ask("set ssl cert \(path) <<", payload: try other.bundle(chain: []))
        }
        let run = try await scene.certs("rotate", "messenger", exits: 5)
        #expect((run.text + run.errors).contains("abort ssl cert \(path)"), "\(run.all)")
        #expect(try await blocking.run { try scene.balancer.ask("show ssl cert") }.contains("*\(path)"))
        #expect(try await scene.served() == before)
        #expect(try await blocking.run { try scene.balancer.ask("commit ssl cert \(path)") }.contains("Success!"))
        #expect(try await scene.served("default.example.net") == other.certificate.record.sha256)
        try await scene.certs("deploy", "messenger", exits: 0)
        try await scene.expectOneTruth()
    }
}

/// Several processes at the same moment.
@Suite struct TwoRotatorsTests {
    private func together(_ count: Int, _ scene: RotationScene, _ arguments: [String]) async throws -> [Program.Outcome]
    {
        try await withThrowingTaskGroup(of: Program.Outcome.self) { group in
            for _ in 0..<count { group.addTask { try await scene.program(arguments + ["-o", "json"]).run() } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
    }

    @Test func `of eight that find it due, one issues`() async throws {
        let scene = try await RotationScene.make()
        let outcomes = try await together(8, scene, ["rotate"])
        #expect(outcomes.allSatisfy { [0, 5].contains($0.status) }, "\(outcomes.map(\.all).joined(separator: "\n"))")
        let results = try outcomes.flatMap {
            $0.output.isEmpty ? [] : try scene.decoded(ResultsDocument.self, $0).results
        }
        #expect(results.count { $0.outcome == "committed" } == 1)
        #expect(results.allSatisfy { ["committed", "busy", "not-due"].contains($0.outcome) })
        #expect(try await scene.expectOneTruth().revision == 1)
        #expect(try await scene.history().count == 1)
    }

    @Test func `of eight that are told to, each one that works issues one, one after the other`() async throws {
        let scene = try await RotationScene.make()
        try await scene.certs("rotate", exits: 0)
        let outcomes = try await together(8, scene, ["rotate", "messenger"])
        #expect(outcomes.allSatisfy { [0, 5].contains($0.status) }, "\(outcomes.map(\.all).joined(separator: "\n"))")
        let issued = outcomes.count { $0.status == 0 }
        #expect(issued >= 1)
        #expect(try await scene.expectOneTruth().revision == 1 + issued)
        #expect(try await scene.history().count == 1 + issued)
    }
}
