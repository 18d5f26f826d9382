import CertsCore
import CertsTesting
import Foundation
import Testing

@testable import CertsHAProxy

@Suite(.serialized) struct SignalReloaderTests {
    private func reloader(_ site: ReloadSite, _ signal: ReloadSignal = .usr2) -> SignalReloader {
        SignalReloader(pidFile: site.haproxy.pidFile, signal: signal, files: site.site.files)
    }

    @Test(arguments: ReloadSignal.allCases)
    func `names the worker that has loaded the new file`(signal: ReloadSignal) async throws {
        let site = try await ReloadSite()
        let reloader = reloader(site, signal)
        #expect(await reloader.check(bundlePaths: []).isEmpty)
        let earlier = site.haproxy.workers
        let new = try site.site.bundle(2)
        try site.install(new)
        let outcome = try await reloader.reload(within: .seconds(20))
        guard case .newWorker(let pid) = outcome.evidence else {
            Issue.record("\(outcome)")
            return
        }
        #expect(site.haproxy.workers.contains(Int32(pid)) && !earlier.contains(Int32(pid)))
        #expect(try await site.served == new.fingerprint)
    }

    @Test func `says that HAProxy did not load, and the old certificate stays`() async throws {
        let site = try await ReloadSite()
        try site.install(try site.site.bundle(2))
        try site.breakTheFiles()
        for _ in 1...2 {
            let failure = await error { _ = try await reloader(site).reload(within: .seconds(20)) }
            #expect(failure?.code == .targetReloadFailed)
            #expect(failure?.message.contains("did not load") == true, "\(failure?.message ?? "no error")")
            #expect(failure?.hint?.contains("haproxy -c -f") == true)
            #expect(try await site.served == site.site.first.fingerprint)
        }
        site.mendTheFiles()
        #expect(try await reloader(site).reload(within: .seconds(20)).evidence != .askedFor)
    }

    @Test func `no reload is lost when one follows the other`() async throws {
        let site = try await ReloadSite()
        for revision in 2...13 {
            let new = try site.site.bundle(revision)
            try site.install(new)
            #expect(try await reloader(site).reload(within: .seconds(20)).evidence != .askedFor)
            #expect(try await site.served == new.fingerprint)
        }
    }

    /// Signals of somebody else fall together with ours: HAProxy loses some of them.
    @Test func `a reload is seen through while others signal too`() async throws {
        let site = try await ReloadSite()
        let master = site.haproxy.pid
        let others = Task {
            while !Task.isCancelled {
                kill(master, SIGUSR2)
                try await Task.sleep(for: .milliseconds(37))
            }
        }
        defer { others.cancel() }
        for revision in 2...5 {
            let new = try site.site.bundle(revision)
            try site.install(new)
            #expect(try await reloader(site).reload(within: .seconds(60)).evidence != .askedFor)
            #expect(try await site.served == new.fingerprint)
        }
    }

    @Test func `lists the old worker while it keeps a connection`() async throws {
        let site = try await ReloadSite()
        let old = try #require(site.haproxy.workers.first)
        let held = try HeldConnection(to: site.heldSocket)
        try await HeldConnection.waitUntilHeld(by: site.haproxy)
        let outcome = try await reloader(site).reload(within: .seconds(20))
        let worker = try #require(outcome.oldWorkers.first { $0.pid == Int(old) })
        #expect(worker.connections == nil)
        #expect((worker.age ?? -1) >= 0)
        withExtendedLifetime(held) {}
    }

    @Test func `finds that a process has no master`() async throws {
        let site = try await ReloadSite(isMaster: false)
        let findings = await reloader(site).check(bundlePaths: [])
        #expect(findings.map(\.id) == ["not-master-worker"])
        #expect(findings.first?.isBlocking == true)
        #expect(findings.first?.message.contains("without a master") == true)
        let failure = await error { _ = try await reloader(site).reload(within: .seconds(20)) }
        #expect(failure?.code == .targetReloadFailed)
        #expect(failure?.hint?.contains("`-W`") == true)
    }

    @Test func `finds that the file holds the pid of a worker`() async throws {
        let site = try await ReloadSite()
        let worker = try #require(site.haproxy.workers.first)
        try "\(worker)\n".write(toFile: site.haproxy.pidFile, atomically: true, encoding: .utf8)
        let findings = await reloader(site).check(bundlePaths: [])
        #expect(findings.map(\.id) == ["not-master-worker"])
        #expect(findings.first?.message.contains("a worker of HAProxy's master \(site.haproxy.pid)") == true)
        #expect(await code { _ = try await reloader(site).reload(within: .seconds(20)) } == .targetReloadFailed)
        #expect(site.haproxy.workers == [worker])
    }

    @Test func `says that the process has ended`() async throws {
        let site = try await ReloadSite()
        site.haproxy.crash()
        let findings = await reloader(site).check(bundlePaths: [])
        #expect(findings.map(\.id) == ["reload-unavailable"])
        #expect(findings.first?.message.contains("not running") == true)
    }

    // MARK: The watch

    @Test func `asks once more when nothing happens`() async throws {
        let site = try await ReloadSite()
        var watch = WorkerWatch(master: Int(site.haproxy.pid), subject: "test")
        watch.quiet = .milliseconds(100)
        var asked = 0
        let outcome = try await watch.reload(within: .seconds(20)) {
            asked += 1
            if asked == 2 { kill(site.haproxy.pid, SIGUSR2) }
        }
        #expect(outcome.evidence != .askedFor)
        #expect(asked == 2)
        let failure = await error { _ = try await watch.reload(within: .milliseconds(500)) { asked += 1 } }
        #expect(failure?.code == .targetReloadFailed)
        #expect(failure?.message.contains("no new worker") == true)
        #expect(asked == 4)
    }

    @Test func `says that the master ended`() async throws {
        let site = try await ReloadSite()
        let watch = WorkerWatch(master: Int(site.haproxy.pid), subject: "test")
        let failure = await error { _ = try await watch.reload(within: .seconds(20)) { site.haproxy.crash() } }
        #expect(failure?.code == .targetReloadFailed)
        #expect(failure?.message.contains("ended") == true)
    }

    @Test func `claims nothing about processes that cannot be seen`() async throws {
        let watch = WorkerWatch(master: 2_147_483_646, subject: "test")
        #expect(await watch.check() == nil)
        var asked = 0
        let outcome = try await watch.reload(within: .seconds(20)) { asked += 1 }
        #expect(outcome == ReloadOutcome(evidence: .askedFor))
        #expect(asked == 1)
    }
}
