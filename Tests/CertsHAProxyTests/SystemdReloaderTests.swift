import CertsCore
import CertsTesting
import Foundation
import Testing

@testable import CertsHAProxy

/// `systemctl reload`, with the real HAProxy as the unit's process.
@Suite(.serialized) struct SystemdReloaderTests {
    private func reloader(_ directory: TemporaryDirectory, state: String, onReload: String) throws -> SystemdReloader {
        try FakeSystemctl.install(in: directory, state: state, onReload: onReload)
    }

    private static func state(
        load: String = "loaded", active: String = "active", pid: Int32, canReload: String = "yes"
    ) -> String {
        FakeSystemctl.state(load: load, active: active, pid: pid, canReload: canReload)
    }

    private func asked(_ directory: TemporaryDirectory) throws -> [String] {
        try String(contentsOfFile: directory.path("asked"), encoding: .utf8).split(separator: "\n").map(String.init)
    }

    @Test func `names the worker that has loaded the new file`() async throws {
        let site = try await ReloadSite()
        let directory = site.site.directory
        let reloader = try reloader(
            directory, state: Self.state(pid: site.haproxy.pid), onReload: "kill -USR2 \(site.haproxy.pid)")
        #expect(await reloader.check(bundlePaths: []) == [])
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
        #expect(try asked(directory).last == "--no-ask-password --no-pager reload -- haproxy.service")
    }

    /// Debian's unit: the signal is sent, `systemctl` ends with 0, and nothing was loaded.
    @Test func `says that HAProxy did not load although systemctl succeeded`() async throws {
        let site = try await ReloadSite()
        let reloader = try reloader(
            site.site.directory, state: Self.state(pid: site.haproxy.pid), onReload: "kill -USR2 \(site.haproxy.pid)")
        try site.install(try site.site.bundle(2))
        try site.breakTheFiles()
        let failure = await error { _ = try await reloader.reload(within: .seconds(20)) }
        #expect(failure?.code == .targetReloadFailed)
        #expect(failure?.message.contains("did not load") == true, "\(failure?.message ?? "no error")")
        #expect(try await site.served == site.site.first.fingerprint)
    }

    @Test func `repeats what systemctl says`() async throws {
        let site = try await ReloadSite()
        let reloader = try reloader(
            site.site.directory, state: Self.state(pid: site.haproxy.pid),
            onReload: "echo Job for haproxy.service failed. >&2; exit 1")
        let failure = await error { _ = try await reloader.reload(within: .seconds(20)) }
        #expect(failure?.code == .targetReloadFailed)
        #expect(failure?.message.contains("(exit code 1): Job for haproxy.service failed.") == true)
    }

    @Test func `a systemctl that does not end is left at the deadline`() async throws {
        let site = try await ReloadSite()
        let reloader = try reloader(
            site.site.directory, state: Self.state(pid: site.haproxy.pid), onReload: "sleep 60")
        let failure = await error { _ = try await reloader.reload(within: .milliseconds(500)) }
        #expect(failure?.code == .targetReloadFailed)
        #expect(failure?.message.contains("did not end within") == true, "\(failure?.message ?? "no error")")
    }

    @Test func `finds that the unit's process has no master`() async throws {
        let site = try await ReloadSite(isMaster: false)
        let reloader = try reloader(
            site.site.directory, state: Self.state(pid: site.haproxy.pid), onReload: "exit 0")
        #expect(await reloader.check(bundlePaths: []).map(\.id) == ["not-master-worker"])
        #expect(await code { _ = try await reloader.reload(within: .seconds(20)) } == .targetReloadFailed)
        #expect(try asked(site.site.directory).allSatisfy { !$0.contains("reload --") })
    }

    @Test(arguments: [
        (state(load: "not-found", active: "inactive", pid: 0, canReload: "no"), "has no unit"),
        (state(active: "failed", pid: 0), "is failed"), (state(pid: getpid(), canReload: "no"), "cannot be reloaded"),
        (state(pid: 0), "cannot be reloaded"), ("", "has no unit"), ("MainPID=99999999999999999999", "has no unit"),
    ])
    func `finds what stands in the way`(state: String, says: String) async throws {
        let directory = try TemporaryDirectory(prefix: "hap")
        let reloader = try reloader(directory, state: state, onReload: "exit 0")
        let findings = await reloader.check(bundlePaths: [])
        #expect(findings.map(\.id) == ["reload-unavailable"])
        #expect(findings.first?.message.contains(says) == true, "\(findings)")
        #expect(await code { _ = try await reloader.reload(within: .seconds(5)) } == .targetReloadFailed)
        #expect(try asked(directory).allSatisfy { !$0.contains("reload --") })
    }

    @Test func `claims nothing about a unit that only starts HAProxy`() async throws {
        let directory = try TemporaryDirectory(prefix: "hap")
        let reloader = try reloader(directory, state: Self.state(pid: getpid()), onReload: "exit 0")
        let findings = await reloader.check(bundlePaths: [])
        #expect(findings.map(\.id) == ["reload-unseen"])
        #expect(findings.first?.isBlocking == false)
        #expect(try await reloader.reload(within: .seconds(20)) == ReloadOutcome(evidence: .askedFor))
    }

    @Test func `says that there is no systemctl`() async throws {
        let reloader = SystemdReloader(unit: "haproxy.service", systemctl: "/nonexistent/systemctl")
        #expect(await reloader.check(bundlePaths: []).map(\.id) == ["reload-unavailable"])
    }
}
