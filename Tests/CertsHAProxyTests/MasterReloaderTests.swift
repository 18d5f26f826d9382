import CertsCore
import CertsTesting
import Foundation
import Synchronization
import Testing

@testable import CertsHAProxy

@Suite(.serialized) struct MasterReloaderTests {
    private func newWorker(_ outcome: ReloadOutcome) throws -> Int {
        guard case .newWorker(let pid) = outcome.evidence else { throw Unexpected(outcome: outcome) }
        return pid
    }

    private struct Unexpected: Error { let outcome: ReloadOutcome }

    // MARK: The real HAProxy

    @Test func `names the worker that has loaded the new file`() async throws {
        let site = try await ReloadSite()
        let reloader = MasterReloader(socket: site.haproxy.masterSocket)
        #expect(await reloader.check(bundlePaths: []).isEmpty)
        let earlier = site.haproxy.workers
        let new = try site.site.bundle(2)
        try site.install(new)
        let pid = try newWorker(try await reloader.reload(within: .seconds(20)))
        #expect(site.haproxy.workers.contains(Int32(pid)) && !earlier.contains(Int32(pid)))
        #expect(try await site.served == new.fingerprint)
    }

    @Test func `says that HAProxy did not load, and the old certificate stays`() async throws {
        let site = try await ReloadSite()
        let reloader = MasterReloader(socket: site.haproxy.masterSocket)
        try site.install(try site.site.bundle(2))
        try site.breakTheFiles()
        for _ in 1...2 {
            let failure = await error { _ = try await reloader.reload(within: .seconds(20)) }
            #expect(failure?.code == .targetReloadFailed)
            #expect(failure?.message.contains("did not load") == true, "\(failure?.message ?? "no error")")
            #expect(failure?.hint?.contains("haproxy -c -f") == true)
            #expect(try await site.served == site.site.first.fingerprint)
        }
        let findings = await reloader.check(bundlePaths: [])
        #expect(findings.map(\.id) == ["last-reload-failed"])
        #expect(findings.first?.isBlocking == false)
        site.mendTheFiles()
        _ = try newWorker(try await reloader.reload(within: .seconds(20)))
        #expect(await reloader.check(bundlePaths: []).isEmpty)
    }

    @Test func `no reload is lost when one follows the other`() async throws {
        let site = try await ReloadSite()
        let reloader = MasterReloader(socket: site.haproxy.masterSocket)
        var pids: Set<Int> = []
        for revision in 2...13 {
            let new = try site.site.bundle(revision)
            try site.install(new)
            pids.insert(try newWorker(try await reloader.reload(within: .seconds(20))))
            #expect(try await site.served == new.fingerprint)
        }
        #expect(pids.count == 12)
    }

    @Test func `no reload is lost when several ask at once`() async throws {
        let site = try await ReloadSite()
        let reloader = MasterReloader(socket: site.haproxy.masterSocket)
        let new = try site.site.bundle(2)
        try site.install(new)
        try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<6 {
                group.addTask { try newWorker(try await reloader.reload(within: .seconds(30))) }
            }
            try await group.waitForAll()
        }
        #expect(try await site.served == new.fingerprint)
    }

    @Test func `lists the old worker while it keeps a connection`() async throws {
        let site = try await ReloadSite()
        let reloader = MasterReloader(socket: site.haproxy.masterSocket)
        let old = try #require(site.haproxy.workers.first)
        var held: HeldConnection? = try HeldConnection(to: site.heldSocket)
        try await HeldConnection.waitUntilHeld(by: site.haproxy)
        let outcome = try await reloader.reload(within: .seconds(20))
        let worker = try #require(outcome.oldWorkers.first { $0.pid == Int(old) })
        #expect(worker.connections == 1)
        #expect((worker.age ?? -1) >= 0)
        #expect(held != nil)
        held = nil
        let isGone = try await ReloadSite.eventually {
            try await reloader.reload(within: .seconds(20)).oldWorkers.contains { $0.pid == Int(old) } == false
        }
        #expect(isGone)
    }

    @Test func `refuses a socket that is not the master's`() async throws {
        let site = try await ReloadSite()
        let findings = await MasterReloader(socket: site.haproxy.socket).check(bundlePaths: [])
        #expect(findings.map(\.id) == ["not-master-socket"])
        #expect(findings.first?.message.contains(site.haproxy.socket) == true)
        #expect(findings.first?.remedy.contains("`-S`") == true)
    }

    @Test func `finds that the level of the socket is too low`() async throws {
        let site = try await ReloadSite(masterOptions: ",level,user")
        let reloader = MasterReloader(socket: site.haproxy.masterSocket)
        let findings = await reloader.check(bundlePaths: [])
        #expect(findings.map(\.id) == ["reload-not-permitted"])
        #expect(findings.first?.isBlocking == true)
        #expect(await code { _ = try await reloader.reload(within: .seconds(20)) } == .targetRefused)
    }

    @Test func `says that there is no socket, or that nobody listens`() async throws {
        let directory = try TemporaryDirectory(prefix: "hap")
        let missing = MasterReloader(socket: directory.path("m"), checkLimit: .milliseconds(100))
        let findings = await missing.check(bundlePaths: [])
        #expect(findings.map(\.id) == ["reload-unavailable"])
        #expect(findings.first?.remedy.contains("-W -S \(missing.socket)") == true)
        try FakeHAProxy(at: missing.socket, certificates: []).stop()
        #expect(await missing.check(bundlePaths: []).map(\.id) == ["reload-unavailable"])
        #expect(await code { _ = try await missing.reload(within: .milliseconds(200)) } == .targetUnreachable)
    }

    // MARK: Fakes

    private func fake(_ script: @escaping FakeHAProxy.Script) throws -> (FakeHAProxy, TemporaryDirectory) {
        let directory = try TemporaryDirectory(prefix: "hap")
        return (try FakeHAProxy(at: directory.path("m"), certificates: [], script: script), directory)
    }

    private static func processes(_ version: String, reloads: Int = 0, failed: Int = 0, worker: Int) -> String {
        MasterReplyTests.header
            + "10 master \(reloads) [failed: \(failed)] 0d00h00m00s \(version)\n# workers\n\(worker) worker 0 0d00h00m00s \(version)\n\n"
    }

    @Test(arguments: [true, false])
    func `a master that never answers ends at the deadline`(listsFirst: Bool) async throws {
        let (fake, directory) = try fake { _, command in
            listsFirst && command == "show proc" ? .reply(Self.processes("2.6.12", worker: 11)) : .hang
        }
        defer { fake.stop() }
        let reloader = MasterReloader(socket: directory.path("m"), checkLimit: .milliseconds(200))
        #expect(await code { _ = try await reloader.reload(within: .milliseconds(300)) } == .targetTimeout)
        #expect(await reloader.check(bundlePaths: []).map(\.id) == ["reload-unavailable"])
    }

    @Test func `believes a newer HAProxy that the reload succeeded`() async throws {
        let isDone = Mutex(false)
        let (fake, directory) = try fake { _, command in
            if command == "reload" {
                isDone.withLock { $0 = true }
                return .reply("Success=1\n--\n[NOTICE]   (10) : Loading success.\n\n")
            }
            return .reply(Self.processes("3.2.4", worker: isDone.withLock { $0 } ? 12 : 11))
        }
        defer { fake.stop() }
        let outcome = try await MasterReloader(socket: directory.path("m")).reload(within: .seconds(20))
        #expect(outcome == ReloadOutcome(evidence: .newWorker(pid: 12)))
        #expect(fake.state.commands.filter { $0 == "reload" }.count == 1)
    }

    @Test func `repeats why a newer HAProxy did not load`() async throws {
        let (fake, directory) = try fake { _, command in
            .reply(command == "reload" ? MasterReplyTests.loadFailure : Self.processes("3.2.4", worker: 11))
        }
        defer { fake.stop() }
        let failure = await error {
            _ = try await MasterReloader(socket: directory.path("m")).reload(within: .seconds(20))
        }
        #expect(failure?.code == .targetReloadFailed)
        #expect(failure?.message.contains("parsing [test3.cfg:1]: unknown keyword") == true)
    }

    @Test func `waits for an earlier reload of a newer HAProxy`() async throws {
        let asked = Mutex(0)
        let (fake, directory) = try fake { _, command in
            guard command == "reload" else { return .reply(Self.processes("3.2.4", worker: 11)) }
            let count = asked.withLock { asked in
                asked += 1
                return asked
            }
            return switch count {
            case 1: .reply("Success=0\n--\nAnother reload is still in progress.\n\n")
            // The connection breaks: whether it was heard is not known.
            case 2: .hangUp
            default: .reply("Success=1\n--\n\n")
            }
        }
        defer { fake.stop() }
        let outcome = try await MasterReloader(socket: directory.path("m")).reload(within: .seconds(20))
        #expect(outcome.evidence == .reported)
        #expect(asked.withLock { $0 } == 3)
    }

    @Test(arguments: [2, 3])
    func `asks once more when a reload is lost`(heardAt: Int) async throws {
        let asked = Mutex(0)
        let (fake, directory) = try fake { _, command in
            guard command != "reload" else {
                asked.withLock { $0 += 1 }
                return .hangUp
            }
            let isHeard = asked.withLock { $0 } >= heardAt
            return .reply(Self.processes("2.6.12", reloads: isHeard ? 1 : 0, worker: isHeard ? 12 : 11))
        }
        defer { fake.stop() }
        let reloader = MasterReloader(socket: directory.path("m"), quiet: .milliseconds(100))
        if heardAt == 2 {
            #expect(
                try await reloader.reload(within: .seconds(20)) == ReloadOutcome(evidence: .newWorker(pid: 12)))
        } else {
            #expect(await code { _ = try await reloader.reload(within: .milliseconds(500)) } == .targetTimeout)
        }
        #expect(asked.withLock { $0 } == 2)
    }
}
