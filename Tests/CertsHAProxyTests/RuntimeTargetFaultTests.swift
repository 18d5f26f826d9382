import CertsCore
import CertsTesting
import Foundation
import Synchronization
import Testing

@testable import CertsHAProxy

/// The hot swap against a HAProxy that fails at each of its commands.
@Suite(.serialized) struct RuntimeTargetFaultTests {
    /// Answers every probe with what the fake holds in memory: there is no listener.
    private struct NobodyServes: Prober {
        func probe(_ endpoint: Endpoint, as client: ClientProfile, deadline: Duration) async throws -> ServedCertificate
        {
            throw CertsError(.probeFailed, "there is no listener")
        }
    }

    let site: Site
    var socket: String { site.directory.path("s") }

    init() throws { site = try Site() }

    private func target() throws -> any DeploymentTarget {
        try site.target(.runtime(socket: socket), port: 1, reply: .seconds(1), prober: NobodyServes())
    }

    private var receipt: DeploymentReceipt {
        DeploymentReceipt(
            method: "runtime", reloads: false,
            files: [
                FileReceipt(
                    path: site.path, role: .bundle(slot: nil), storeName: site.path,
                    previous: LiveBundle(site.first.pem, attributes: nil).receipt)
            ],
            baseline: [], takenAt: Date())
    }

    /// Where `apply` sends what: list, info, set, show pending, commit, show, info.
    static let steps = 7
    static let commit = 4
    static let faults: [FakeHAProxy.Behaviour] = [
        .hang, .hangUp, .cut(after: 12), .reply("Permission denied\n\n"), .reply("nonsense\n\n"), .flood(5 << 20),
    ]

    @Test(arguments: 0..<steps, faults.indices)
    func leavesNoTransactionAndNoMixAfterAFault(step: Int, fault: Int) async throws {
        let fake = try FakeHAProxy(at: socket, certificates: [site.path]) { index, _ in
            index == step ? Self.faults[fault] : .normal
        }
        defer { fake.stop() }
        let new = try site.bundle(2)
        let failure = await error { try await target().apply(new, receipt: receipt, resuming: false) }
        let state = fake.state
        #expect(state.transaction == nil)
        if failure == nil {
            // The answer to the commit was lost, and the commit itself was not.
            #expect(step == Self.commit)
            #expect(state.memory[site.path]?.sha1 == new.leaf.sha1)
            #expect(site.onDisk == new.pem.data)
        } else {
            #expect(site.onDisk == site.first.pem.data)
            #expect(failure?.code.family == "target")
        }
    }

    @Test func abortsWhatHAProxyMixedWithAForeignTransaction() async throws {
        let other = "/etc/haproxy/other.pem"
        let fake = Mutex<FakeHAProxy?>(nil)
        let server = try FakeHAProxy(at: socket, certificates: [site.path, other]) { _, command in
            if command.hasPrefix("set ssl cert") { fake.withLock { $0?.state.transaction = (other, .init()) } }
            return .normal
        }
        fake.withLock { $0 = server }
        defer { server.stop() }
        let new = try site.bundle(2)
        let failure = await error { try await target().apply(new, receipt: receipt, resuming: false) }
        #expect(failure?.code == .targetForeignTransaction)
        #expect(server.state.transaction == nil)
        #expect(server.state.memory[site.path] == .init())
        #expect(server.state.memory[other] == .init())
        #expect(site.onDisk == site.first.pem.data)
        fake.withLock { $0 = nil }
    }

    @Test func neverCommitsIntoAnotherFile() async throws {
        let fake = try FakeHAProxy(at: socket, certificates: [site.path]) { _, command in
            command.hasPrefix("set ssl cert")
                ? .reply("Transaction created for certificate /etc/other.pem!\n\n") : .normal
        }
        defer { fake.stop() }
        let new = try site.bundle(2)
        #expect(
            await code { try await target().apply(new, receipt: receipt, resuming: false) } == .targetUnexpectedReply)
        #expect(!fake.state.commands.contains { $0.hasPrefix("commit") })
    }

    @Test func neverCommitsWhatHAProxyDidNotKeep() async throws {
        let fake = try FakeHAProxy(at: socket, certificates: [site.path]) { [site] _, command in
            guard command.hasPrefix("show ssl cert *") else { return .normal }
            let sha1 = String(repeating: "ab", count: 20)
            return .reply("Filename: *\(site.path)\nStatus: Unused\nSerial: 77\nSHA1 FingerPrint: \(sha1)\n\n")
        }
        defer { fake.stop() }
        let new = try site.bundle(2)
        #expect(
            await code { try await target().apply(new, receipt: receipt, resuming: false) } == .targetUnexpectedReply)
        #expect(!fake.state.commands.contains { $0.hasPrefix("commit") })
        #expect(site.onDisk == site.first.pem.data)
    }

    @Test(arguments: ["Pid: 4711\nStopping: 1", "Pid: 4712\nStopping: 0"])
    func distrustsAProcessThatIsReplaced(info: String) async throws {
        let seen = Mutex(0)
        let fake = try FakeHAProxy(at: socket, certificates: [site.path]) { _, command in
            guard command == "show info",
                seen.withLock({ count in
                    count += 1; return count
                }) > 1
            else { return .normal }
            return .reply("Version: 2.6.12\n\(info)\n\n")
        }
        defer { fake.stop() }
        let new = try site.bundle(2)
        #expect(await code { try await target().apply(new, receipt: receipt, resuming: false) } == .targetUnreachable)
        #expect(site.onDisk == site.first.pem.data)
    }

    @Test func waitsForTheLockOfTheSocketAndSaysWhoHasIt() async throws {
        let fake = try FakeHAProxy(at: socket, certificates: [site.path])
        defer { fake.stop() }
        let declaration = try target().declaration
        let impatient = TargetFactory.make(
            declaration, files: site.files, proof: EndpointProof(prober: NobodyServes()),
            limits: TargetLimits(reply: .seconds(1), lock: .milliseconds(50)), logger: Site.logger)
        let lock = try await site.files.lockDirectory(site.directory.path, deadline: .seconds(1))
        let new = try site.bundle(2)
        #expect(await code { try await impatient.apply(new, receipt: receipt, resuming: false) } == .lockHeld)
        #expect(fake.state.commands.isEmpty)
        lock.release()
        try await impatient.apply(new, receipt: receipt, resuming: false)
        #expect(site.onDisk == new.pem.data)
    }

    @Test func neverRestoresBytesThatTheReceiptDoesNotName() async throws {
        let fake = try FakeHAProxy(at: socket, certificates: [site.path])
        defer { fake.stop() }
        let other = try site.bundle(3)
        let certificate = other.certificate
        #expect(
            await code {
                try await target().restore(receipt, previous: other.pem, certificate: certificate, resuming: false)
            } == .stateCorrupt)
        #expect(
            await code { try await target().restore(receipt, previous: nil, certificate: certificate, resuming: true) }
                == .stateCorrupt)
        #expect(fake.state.commands.isEmpty)
        #expect(site.onDisk == site.first.pem.data)
    }
}
