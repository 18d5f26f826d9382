import CertsCore
import CertsDocker
import CertsTesting
import Foundation
import Testing

@testable import CertsHAProxy

/// What stands in the way of a reload, with a real engine and real containers: nothing of it may look like a success.
@Suite(.serialized) struct DockerReloaderFaultTests {
    let scene: DockerScene

    init() throws { scene = try DockerScene() }

    /// - Returns: the error of a reload, once it was seen that the old certificate is still served.
    private func failure(of reloader: DockerReloader, within limit: Duration = .seconds(20)) async throws -> CertsError?
    {
        let failure = await error { _ = try await reloader.reload(within: limit) }
        #expect(failure?.hint?.isEmpty == false)
        #expect(try await scene.waitUntilServed() == scene.site.first.fingerprint)
        return failure
    }

    @Test func signalsNothingWhenTheValidationFails() async throws {
        try await RealDocker.withContainer(scene.recipe) { name, engine in
            try await scene.waitUntilServed()
            let before = try await engine.processes(of: name)
            let begin = Date()
            try Data("not a certificate\n".utf8).write(to: URL(filePath: scene.site.path))
            let failure = try await failure(of: try scene.reloader(.name(name)))
            #expect(failure?.code == .targetReloadFailed)
            #expect(failure?.message.contains("[ALERT]") == true)
            #expect(failure?.message.contains("/certs/server.pem") == true, "\(failure?.message ?? "")")
            #expect(try await engine.processes(of: name).map(\.pid) == before.map(\.pid))
            #expect(try await engine.errors(of: try await engine.inspect(name), since: begin) == "")
        }
    }

    /// A declared configuration is validated instead of the running one.
    @Test func validatesTheDeclaredConfiguration() async throws {
        try await RealDocker.withContainer(scene.recipe) { name, _ in
            try await scene.waitUntilServed()
            let failure = try await failure(of: try scene.reloader(.name(name), configuration: "/conf/other.cfg"))
            #expect(failure?.message.contains("/conf/other.cfg") == true, "\(failure?.message ?? "")")
            try scene.site.directory.write(
                try String(contentsOfFile: scene.site.directory.path("conf/haproxy.cfg"), encoding: .utf8),
                to: "conf/other.cfg")
            _ = try await scene.reloader(.name(name), configuration: "/conf/other.cfg").reload(within: .seconds(20))
        }
    }

    /// An address that this host does not have: a validation binds nothing, and passes.
    @Test func tellsWhyHAProxyCouldNotLoadWhatItHadValidated() async throws {
        try await RealDocker.withContainer(scene.recipe) { name, _ in
            try await scene.waitUntilServed()
            try scene.configure("bind 192.0.2.1:\(scene.port)")
            try await scene.install(try scene.site.bundle(2))
            let failure = try await failure(of: try scene.reloader(.name(name)))
            #expect(failure?.code == .targetReloadFailed)
            #expect(failure?.message.contains("cannot bind socket") == true, "\(failure?.message ?? "no error")")
            // The master is none the worse for it.
            try scene.configure()
            _ = try await scene.reloader(.name(name)).reload(within: .seconds(20))
        }
    }

    @Test func seesThatHAProxyHasNoMaster() async throws {
        var recipe = scene.recipe
        recipe.entryPoint = ["haproxy"]
        recipe.command = ["-db", "-f", "/conf/haproxy.cfg"]
        try await RealDocker.withContainer(recipe) { name, _ in
            try await scene.waitUntilServed()
            let reloader = try scene.reloader(.name(name))
            let findings = await reloader.check(bundlePaths: [scene.site.path])
            #expect(findings.map(\.id) == ["docker-no-master"])
            #expect(findings.first?.isBlocking == true)
            #expect(findings.first?.remedy.contains("-W") == true)
            #expect(try await failure(of: reloader)?.code == .targetReloadFailed)
        }
    }

    @Test func seesThatProcess1IsAShell() async throws {
        var recipe = scene.recipe
        recipe.command = ["sh", "-c", "haproxy -W -db -f /conf/haproxy.cfg; exit 1"]
        try await RealDocker.withContainer(recipe) { name, _ in
            try await scene.waitUntilServed()
            let reloader = try scene.reloader(.name(name))
            let findings = await reloader.check(bundlePaths: [scene.site.path])
            #expect(findings.map(\.id) == ["docker-not-haproxy"])
            #expect(findings.first?.message.contains("sh -c") == true)
            #expect(try await failure(of: reloader)?.message.contains("not HAProxy") == true)
        }
    }

    /// The reload itself works, and serves the old file: only the check can tell before.
    @Test func seesThatTheBundleIsMountedAlone() async throws {
        var recipe = scene.recipe
        recipe.binds[0] = "\(scene.site.path):/certs/server.pem:ro"
        try await RealDocker.withContainer(recipe) { name, _ in
            try await scene.waitUntilServed()
            let reloader = try scene.reloader(.name(name))
            let findings = await reloader.check(bundlePaths: [scene.site.path])
            #expect(findings.map(\.id) == ["docker-single-file-mount"])
            #expect(findings.first?.isBlocking == true)
            try await scene.install(try scene.site.bundle(2))
            _ = try await reloader.reload(within: .seconds(20))
            #expect(try await scene.waitUntilServed() == scene.site.first.fingerprint)
        }
    }

    @Test func seesThatNoMountHasTheBundle() async throws {
        try await RealDocker.withContainer(scene.recipe) { name, _ in
            try await scene.waitUntilServed()
            let path = scene.site.directory.path("elsewhere/server.pem")
            let findings = await (try scene.reloader(.name(name))).check(bundlePaths: [scene.site.path, path])
            #expect(findings.map(\.id) == ["docker-bundle-not-mounted"])
            #expect(findings.first?.message.contains(path) == true)
        }
    }

    @Test func seesThatTheContainerDoesNotRun() async throws {
        try await RealDocker.withContainer(scene.recipe, started: false) { name, _ in
            let reloader = try scene.reloader(.name(name))
            let findings = await reloader.check(bundlePaths: [scene.site.path])
            #expect(findings.map(\.id) == ["docker-container-stopped"])
            #expect(await code { _ = try await reloader.reload(within: .seconds(5)) } == .targetReloadFailed)
        }
    }

    @Test(arguments: [
        DockerContainer.Selector.name("certs-test-nobody"), .name("../version"), .name(""), .name("a/../b"),
        .compose(project: nil, service: "nobody"), .compose(project: "no\"body", service: "../../version?all=1&x=\r\n"),
    ])
    func seesThatThereIsNoSuchContainer(selector: DockerContainer.Selector) async throws {
        let reloader = try scene.reloader(selector)
        let findings = await reloader.check(bundlePaths: [scene.site.path])
        #expect(findings.map(\.id) == ["docker-container-missing"])
        #expect(findings.first?.remedy.isEmpty == false)
        let failure = await error { _ = try await reloader.reload(within: .seconds(5)) }
        #expect([.targetUnreachable, .configurationInvalid].contains(failure?.code))
    }

    /// The master is stopped: it takes the signal and does nothing with it.
    @Test func failsInTimeWhereNoWorkerComes() async throws {
        try await RealDocker.withContainer(scene.recipe) { name, engine in
            try await scene.waitUntilServed()
            let master = try await engine.inspect(name).state.pid
            kill(pid_t(master), SIGSTOP)
            defer { kill(pid_t(master), SIGCONT) }
            let failure = await error {
                _ = try await scene.reloader(.name(name)).reload(within: .seconds(4))
            }
            #expect(failure?.code == .targetReloadFailed)
            #expect(failure?.message.contains("no new worker within") == true, "\(failure?.message ?? "no error")")
        }
    }

    // MARK: The last resort

    @Test func restartsWhatNoSignalCanReload() async throws {
        var recipe = scene.recipe
        recipe.entryPoint = ["haproxy"]
        recipe.command = ["-db", "-f", "/conf/haproxy.cfg"]
        // A restart mounts a single file anew.
        recipe.binds[0] = "\(scene.site.path):/certs/server.pem:ro"
        try await RealDocker.withContainer(recipe) { name, engine in
            try await scene.waitUntilServed()
            let reloader = try scene.reloader(.name(name), restart: true)
            let findings = await reloader.check(bundlePaths: [scene.site.path])
            #expect(findings.map(\.id) == ["docker-restart"])
            #expect(findings.first?.severity == .warning)
            let old = try await engine.inspect(name).state.pid
            let new = try scene.site.bundle(2)
            try await scene.install(new)
            let outcome = try await reloader.reload(within: .seconds(20))
            let pid = try await engine.inspect(name).state.pid
            #expect(pid != old)
            #expect(outcome == ReloadOutcome(evidence: .newWorker(pid: pid)))
            #expect(try await scene.serves(new.fingerprint))
        }
    }

    @Test func neverRestartsWhatASignalReloads() async throws {
        try await RealDocker.withContainer(scene.recipe) { name, engine in
            try await scene.waitUntilServed()
            let old = try await engine.inspect(name).state
            let reloader = try scene.reloader(.name(name), restart: true)
            #expect(await reloader.check(bundlePaths: [scene.site.path]) == [])
            _ = try await reloader.reload(within: .seconds(20))
            #expect(try await engine.inspect(name).state.startedAt == old.startedAt)
        }
    }

    @Test func restartsNothingWhenTheValidationFails() async throws {
        var recipe = scene.recipe
        recipe.entryPoint = ["haproxy"]
        recipe.command = ["-db", "-f", "/conf/haproxy.cfg"]
        try await RealDocker.withContainer(recipe) { name, _ in
            try await scene.waitUntilServed()
            try Data("not a certificate\n".utf8).write(to: URL(filePath: scene.site.path))
            #expect(try await failure(of: try scene.reloader(.name(name), restart: true))?.code == .targetReloadFailed)
        }
    }

    /// With and without a policy that would restart it for ever; a rollback gets it up again.
    @Test(arguments: ["no", "always"])
    func tellsThatARestartFailedAndStartsItAgainWithGoodFiles(policy: String) async throws {
        var recipe = scene.recipe
        recipe.entryPoint = ["haproxy"]
        recipe.command = ["-db", "-f", "/conf/haproxy.cfg"]
        recipe.restartPolicy = policy
        try await RealDocker.withContainer(recipe) { name, _ in
            try await scene.waitUntilServed()
            let reloader = try scene.reloader(.name(name), restart: true)
            try scene.configure("bind 192.0.2.1:\(scene.port)")
            let failure = await error { _ = try await reloader.reload(within: .seconds(20)) }
            #expect(failure?.code == .targetReloadFailed)
            #expect(failure?.message.contains("cannot bind socket") == true, "\(failure?.message ?? "no error")")
            try scene.configure()
            _ = try await reloader.reload(within: .seconds(20))
            #expect(try await scene.waitUntilServed() == scene.site.first.fingerprint)
        }
    }
}
