import CertsCore
import CertsTesting
import Foundation
import Synchronization
import Testing

/// Five nodes of one target: whatever happens to one of them, all five end with the same certificate.
@Suite struct FleetTests {
    /// Something that goes wrong on one node, and what has to come of it.
    struct Fault: Sendable, CustomTestStringConvertible {
        let name: String
        /// The exit code, the outcome and the code of the reason in the history.
        let ends: (status: Int32, outcome: String, code: String?)
        var fault: String?
        var inject: Injection = { _, _ in {} }
        var testDescription: String { name }
    }

    /// Makes something go wrong; what it returns mends it.
    typealias Injection = @Sendable (Fleet, Fleet.Node) async throws -> @Sendable () async throws -> Void

    /// A relay that answers a command once in another way.
    private static func once(
        _ command: String, _ behaviour: @escaping @Sendable (Fleet.Node) -> FakeHAProxy.Behaviour
    ) -> Injection {
        { _, node in
            let isDone = Mutex(false)
            node.relay { line in
                guard line.hasPrefix(command), !isDone.withLock({ $0 }) else { return nil }
                isDone.withLock { $0 = true }
                return behaviour(node)
            }
            return {
                node.relay(nil)
                #expect(isDone.withLock { $0 }, "'\(command)' was never sent to \(node.name)")
            }
        }
    }

    /// A copy beside the bundle, as a forgotten `.bak`: after a hot swap HAProxy 2.6 serves the copy.
    static let secondFile: Injection = { _, node in
        let copy = node.directory.path("server.pem.bak")
        try FileManager.default.copyItem(atPath: node.bundle, toPath: copy)
        try node.balancer.write(crt: [node.bundle, copy])
        try await node.balancer.restart()
        return {
            try FileManager.default.removeItem(atPath: copy)
            try node.balancer.write(crt: [node.bundle])
            try await node.balancer.restart()
        }
    }

    static let prepare = [
        Fault(name: "prepare: the node is away", ends: (1, "failed", "target.unreachable")) { _, node in
            node.hide(true)
            try await blocking.run { node.balancer.stop() }
            return {
                node.hide(false)
                try await node.balancer.start()
            }
        },
        Fault(name: "prepare: a transaction of somebody else", ends: (5, "failed", "target.foreignTransaction")) {
            fleet, node in
            let other = try fleet.pki.selfSigned([RotationScene.name]).bundle(chain: [])
            try await blocking.run { _ = try node.balancer.ask("set ssl cert \(node.bundle) <<", payload: other) }
            return {
                let answer = try await blocking.run { try node.balancer.ask("abort ssl cert \(node.bundle)") }
                #expect(answer.contains("Transaction aborted"), "it was left alone")
            }
        },
    ]

    static let apply = [
        Fault(
            name: "apply: `set` is refused", ends: (6, "rolled-back", "target.refused"),
            inject: once("set ssl") { _ in
                .reply("unable to load certificate\nCan't load the payload\nCan't update!\n\n")
            }
        ),
        Fault(
            name: "apply: `commit` is refused", ends: (6, "rolled-back", "target.refused"),
            inject: once("commit") { _ in
                .reply("inconsistencies between private key and certificate\nCan't commit!\n\n")
            }),
        Fault(
            name: "apply: the answer to `commit` is lost", ends: (0, "committed", nil),
            inject: once("commit") { .deliver(to: $0.balancer.socket) }),
        Fault(name: "apply: certs fails", ends: (6, "rolled-back", "internal"), fault: "after-apply@edge/NODE:fail"),
        Fault(name: "apply: HAProxy dies in mid-commit", ends: (1, "rollback-failed", "target.unexpectedReply")) {
            fleet, node in
            let mend = try await once("commit") { node in
                node.balancer.crash()
                node.hide(true)
                return .hangUp
            }(fleet, node)
            return {
                try await mend()
                node.hide(false)
                try await node.balancer.start()
            }
        },
    ]

    static let verify = [
        Fault(name: "verify: the node serves another certificate", ends: (6, "rolled-back", "served.other")) {
            fleet, node in
            let other = try fleet.pki.selfSigned([RotationScene.name]).bundle(chain: [])
            let asked = Mutex<Int?>(nil)
            node.relay { line in
                if line.hasPrefix("commit") { asked.withLock { $0 = $0 ?? 0 } }
                // The last question of a swap: whether HAProxy is still the same process.
                guard line.hasPrefix("show info"), asked.withLock({ $0 }) == 0 else { return nil }
                asked.withLock { $0 = 1 }
                try? node.swap(to: other)
                return nil
            }
            return {
                node.relay(nil)
                #expect(asked.withLock { $0 } == 1)
            }
        },
        Fault(
            name: "verify: a second file with the same name", ends: (6, "rolled-back", "served.other"),
            inject: secondFile),
        Fault(name: "verify: certs fails", ends: (6, "rolled-back", "internal"), fault: "before-verify@edge/NODE:fail"),
    ]

    static let faults = prepare + apply + verify

    /// Each node has a fleet's turn of its own, so that the tables run side by side.
    @Test(arguments: Fleet.names)
    func `a failure on one node leaves one certificate on all five`(_ name: String) async throws {
        let fleet = try await Fleet.make()
        let node = try fleet[name]
        var before = try await fleet.expectOneFingerprint()
        for fault in Self.faults {
            let mend = try await fault.inject(fleet, node)
            let run = try await fleet.certs(
                "rotate", "messenger", exits: fault.ends.status,
                fault: fault.fault?.replacingOccurrences(of: "NODE", with: name))
            try await mend()
            let comment = Comment(rawValue: "\(fault.name) on \(name): \(run.all)")
            let after = try await fleet.expectOneFingerprint(comment)
            #expect((after == before) == (fault.ends.status != 0), comment)
            let last = try #require(try await fleet.history().first)
            #expect(last.outcome == fault.ends.outcome, comment)
            #expect(last.failure?.code == fault.ends.code, comment)
            before = after
        }
        // Nothing is left that stands in the way of the next one.
        try await fleet.certs("rotate", "messenger", exits: 0)
        #expect(try await fleet.expectOneFingerprint() != before)
    }

    // MARK: Slow nodes

    /// A command that one node never answers, and how the rotation ends.
    static let silences: [(node: String, command: String, status: Int32)] = [
        ("n2", "show ssl cert", 1), ("n3", "set ssl", 6), ("n5", "commit", 6), ("n1", "commit", 6),
    ]

    @Test(arguments: silences)
    func `a node that does not answer in time stops the rotation`(
        _ silence: (node: String, command: String, status: Int32)
    ) async throws {
        let fleet = try await Fleet.make()
        let before = try await fleet.expectOneFingerprint()
        let node = try fleet[silence.node]
        let mend = try await Self.once(silence.command) { _ in .hang }(fleet, node)
        let run = try await fleet.certs("rotate", "messenger", exits: silence.status)
        try await mend()
        #expect(run.errors.contains("did not answer") || run.text.contains("did not answer"), "\(run.all)")
        #expect(try await fleet.expectOneFingerprint("\(run.all)") == before)
        #expect(try await fleet.history().first?.failure?.code == "target.timeout")
        try await fleet.certs("deploy", "messenger", exits: 0)
        #expect(try await fleet.expectOneFingerprint() != before)
    }

    /// Nobody can bring it back while it stands still: that is said, and the next deployment makes all five one again.
    @Test func `a node that freezes before the proof is never called rolled back`() async throws {
        let fleet = try await Fleet.make()
        let before = try await fleet.expectOneFingerprint()
        let (node, balancer) = (try fleet["n3"], try fleet["n3"].balancer)
        let hasCommitted = Mutex(false)
        node.relay { line in
            if line.hasPrefix("commit") { hasCommitted.withLock { $0 = true } }
            guard line.hasPrefix("show info"), hasCommitted.withLock({ $0 }) else { return nil }
            let answer = try? balancer.ask("show info")
            balancer.signal(SIGSTOP)
            return answer.map { .reply($0) } ?? .hangUp
        }
        let run = try await fleet.certs("rotate", "messenger", exits: 1)
        node.relay(nil)
        balancer.signal(SIGCONT)
        #expect(run.errors.contains("ROLLBACK FAILED"), "\(run.all)")
        let last = try #require(try await fleet.history().first)
        #expect((last.outcome, last.failure?.code) == ("rollback-failed", "probe.timeout"), "\(run.all)")
        let others = try fleet.nodes.filter { $0.name != "n3" }.map { try $0.look() }
        #expect(Set(others.map(\.served)) == [before])
        #expect(try node.look().disk.sha256 == before, "its next start serves the old one")
        try await fleet.certs("deploy", "messenger", exits: 0)
        #expect(try await fleet.expectOneFingerprint() != before)
    }
}
