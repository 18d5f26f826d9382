import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

@testable import CertsHAProxy

/// A run that ends anywhere is taken up by the next one; each step of it is tried against the real HAProxy.
@Suite(.serialized) struct CrtListRecoveryTests {
    /// What was done before the crash, as commands.
    enum Leftover: CaseIterable {
        case new, set, commit, entry
    }

    private func leave(_ leftover: Leftover, in growing: GrowingSite) throws {
        let haproxy = growing.haproxy
        try haproxy.ask("new ssl cert \(growing.name)")
        guard leftover != .new else { return }
        try haproxy.ask("set ssl cert \(growing.name) <<", payload: growing.new.pem.data)
        guard leftover != .set else { return }
        try haproxy.ask("commit ssl cert \(growing.name)")
        guard leftover != .commit else { return }
        try haproxy.ask("add ssl crt-list \(growing.list) \(growing.name)")
    }

    @Test(arguments: Leftover.allCases)
    func takesUpWhatAnEarlierRunLeft(leftover: Leftover) async throws {
        for inDirectory in [false, true] {
            let growing = try await inDirectory ? GrowingSite.directory() : GrowingSite.crtList()
            try leave(leftover, in: growing)
            try await growing.deploy()
            #expect(try await growing.entries().count == 1)
            #expect(try await growing.transaction() == nil)
            #expect(try await growing.served == growing.new.fingerprint)
        }
    }

    @Test(arguments: Leftover.allCases)
    func removesWhatAnEarlierRunLeft(leftover: Leftover) async throws {
        let growing = try await GrowingSite.crtList()
        try leave(leftover, in: growing)
        try await growing.withdraw()
        #expect(try await growing.lists.session.details(growing.name) == nil)
        #expect(try await growing.transaction() == nil)
        #expect(try await growing.served == growing.site.first.fingerprint)
    }

    @Test func replacesAnUnusedCertificateThatAnotherRevisionLeft() async throws {
        let growing = try await GrowingSite.crtList()
        let older = try growing.site.bundle(1, names: [GrowingSite.newHost])
        try await growing.lists.createStore(growing.name, bundle: older.pem, leaf: older.leaf)
        try await growing.deploy()
        #expect(try await growing.served == growing.new.fingerprint)
    }

    /// How the connection fails at one command, and whether ever again.
    enum Fault: CaseIterable {
        /// The command does not arrive; the next ones do.
        case lost
        /// The command is carried out, the reply does not arrive; the next ones do.
        case unanswered
        /// The command is carried out, and nothing arrives after it: the process died.
        case death
    }

    private func fake(_ growing: GrowingSite, _ fault: Fault, at step: Int) throws -> FakeHAProxy {
        let real = growing.haproxy.socket
        return try FakeHAProxy(at: growing.site.directory.path("fake.sock"), certificates: []) { index, _ in
            if index == step { return fault == .lost ? .hangUp : .deliver(to: real) }
            return fault == .death && index > step ? .hangUp : .forward(to: real)
        }
    }

    @Test(arguments: Fault.allCases)
    func convergesAfterAFaultAtAnyCommand(fault: Fault) async throws {
        let growing = try await GrowingSite.crtList()
        var failures = 0
        for step in 0..<40 {
            let fake = try fake(growing, fault, at: step)
            let through = GrowingSite.lists(at: fake.path)
            let way = await error { try await growing.deploy(through: through) }
            let isOver = fake.state.commands.count <= step
            if let way {
                failures += 1
                #expect(way.retry == .later, "step \(step): \(way)")
                if fault != .death { #expect(try await growing.transaction() == nil, "step \(step)") }
            }
            try await growing.deploy()
            #expect(try await growing.entries().count == 1, "step \(step)")
            #expect(try await growing.served == growing.new.fingerprint, "step \(step)")
            #expect(try await growing.transaction() == nil)
            try await growing.withdraw()
            #expect(try await growing.served == growing.site.first.fingerprint)
            if isOver { break }
        }
        #expect(failures > 5)
        #expect(await error { try await growing.deploy() } == nil)
    }

    @Test func leavesNoStoreBehindWhenOneCommandFails() async throws {
        let growing = try await GrowingSite.crtList()
        for fault in [Fault.lost, .unanswered] {
            for step in 0..<40 {
                let fake = try fake(growing, fault, at: step)
                let failure = await error {
                    try await GrowingSite.lists(at: fake.path).createStore(
                        growing.name, bundle: growing.new.pem, leaf: growing.new.leaf)
                }
                let left = try await growing.lists.session.details(growing.name)?.stored
                if failure == nil {
                    #expect(left?.status == "Unused", "step \(step)")
                } else {
                    #expect(left == nil, "step \(step): \(String(describing: failure))")
                }
                try await growing.lists.removeStore(growing.name)
                if fake.state.commands.count <= step { break }
            }
        }
    }

    @Test(arguments: Fault.allCases)
    func convergesAfterAFaultOnTheWayOut(fault: Fault) async throws {
        let growing = try await GrowingSite.crtList()
        for step in 0..<20 {
            try await growing.deploy()
            let fake = try fake(growing, fault, at: step)
            _ = await error { try await growing.withdraw(through: GrowingSite.lists(at: fake.path)) }
            let isOver = fake.state.commands.count <= step
            try await growing.withdraw()
            #expect(try await growing.lists.session.details(growing.name) == nil, "step \(step)")
            #expect(try await growing.served == growing.site.first.fingerprint)
            if isOver { break }
        }
    }

    @Test func undoesAKeyThatDoesNotFit() async throws {
        let growing = try await GrowingSite.crtList()
        let other = try growing.site.bundle(3)
        let chain = try CanonicalBundle.certificates(in: growing.new.pem).map(\.pem).joined()
        let text = String(decoding: other.pem.data, as: UTF8.self)
        let key = try #require(text.range(of: "-----BEGIN PRIVATE KEY-----"))
        let mixed = Secret(copying: (chain + text[key.lowerBound...]).utf8)
        let failure = await error {
            try await growing.lists.createStore(growing.name, bundle: mixed, leaf: growing.new.leaf)
        }
        #expect(failure?.code == .targetRefused)
        #expect(failure?.message.contains("inconsistencies") == true)
        #expect(try await growing.transaction() == nil)
        #expect(try await growing.lists.session.details(growing.name) == nil)
    }
}
