import CertsCore
import CertsDocker
import CertsHTTP
import CertsTesting
import Foundation
import Testing

@testable import CertsHAProxy

/// With a real engine and real containers.
@Suite(.serialized) struct DockerReloaderTests {
    let scene: DockerScene

    init() throws { scene = try DockerScene() }

    // MARK: A reload that works

    @Test(arguments: ReloadSignal.allCases)
    func findsANewWorkerAndTheNewCertificateIsServed(signal: ReloadSignal) async throws {
        try await RealDocker.withContainer(scene.recipe) { name, engine in
            try await scene.waitUntilServed()
            let reloader = try scene.reloader(.name(name), signal: signal)
            #expect(await reloader.check(bundlePaths: [scene.site.path]) == [])
            let before = try await engine.processes(of: name).map(\.pid)
            let new = try scene.site.bundle(2)
            try await scene.install(new)
            let outcome = try await reloader.reload(within: .seconds(20))
            guard case .newWorker(let pid) = outcome.evidence else {
                Issue.record("no worker was seen: \(outcome)")
                return
            }
            #expect(!before.contains(pid))
            #expect(try await engine.processes(of: name).contains { $0.pid == pid && $0.isHAProxy })
            #expect(try await scene.serves(new.fingerprint))
        }
    }

    @Test func worksAsTheReloaderOfATarget() async throws {
        try await RealDocker.withContainer(scene.recipe) { name, _ in
            try await scene.waitUntilServed()
            let method = ReloadMethod.docker(DockerContainer(selector: .name(name)))
            let declaration = try NodeDeclaration(
                name: "loadbalancer", bundle: scene.site.path, reload: method,
                endpoints: [Endpoint(host: "127.0.0.1", port: scene.port, serverName: Site.host)])
            let target = ReloadTarget(
                declaration, method: method, reloader: try scene.reloader(.name(name)), files: scene.site.files,
                proof: EndpointProof(prober: HandshakeProber(), pause: .milliseconds(20)), limits: TargetLimits(),
                logger: Site.logger)
            let new = try scene.site.bundle(2)
            let prepared = try await target.prepare(new, fallback: nil, now: Date())
            try await target.apply(new, receipt: prepared.receipt, resuming: false)
            #expect(
                try await target.verify(new, receipt: prepared.receipt).observations.map(\.served) == [new.fingerprint])
            try await target.restore(
                prepared.receipt, previous: prepared.previousBundle, certificate: new.certificate, resuming: false)
            #expect(
                try await target.verifyRestored(prepared.receipt).map(\.served) == [scene.site.first.fingerprint])
        }
    }

    @Test func namesTheOldWorkersThatStillHaveConnections() async throws {
        let plain = try LoopbackPort.reserve()
        try scene.configure("bind 127.0.0.1:\(plain)")
        try await RealDocker.withContainer(scene.recipe) { name, engine in
            try await scene.waitUntilServed()
            let old = try await engine.processes(of: name).last?.pid
            // An answer shows which worker has the connection; a second request, which is not complete, keeps it there.
            let ready = scene.site.directory.path("ready")
            let client = try Tool.start([
                "bash", "-c",
                #"""
                exec 3<>/dev/tcp/127.0.0.1/$0 && printf 'GET / HTTP/1.1\r\nHost: a\r\n\r\n' >&3 && read -r <&3 &&
                printf 'GET / HTTP/1.1\r\n' >&3 && : >$1 && exec sleep 600
                """#, "\(plain)", ready,
            ])
            defer {
                // A child inherits what its thread blocks, and that may be all but this one.
                kill(client, SIGKILL)
                Tool.wait(for: client)
            }
            try await waitForFile(ready)
            let outcome = try await scene.reloader(.name(name)).reload(within: .seconds(20))
            #expect(outcome.oldWorkers.map(\.pid) == [old])
            #expect(outcome.oldWorkers.first?.age ?? -1 >= 0)
        }
    }

    /// The two labels, with and without the project; what ran once and what has ended does not count.
    @Test func findsAContainerByItsComposeLabels() async throws {
        let project = UUID().uuidString.lowercased()
        let labels = ["com.docker.compose.project": project, "com.docker.compose.service": "lb-\(project)"]
        var (serving, other, once) = (scene.recipe, RealDocker.Recipe(), RealDocker.Recipe())
        serving.labels = labels
        (other.labels, other.command) = (labels, ["sleep", "600"])
        once.labels = labels.merging(["com.docker.compose.oneoff": "True"]) { $1 }
        once.command = ["sleep", "600"]
        try await RealDocker.withContainer(serving) { name, engine in
            try await RealDocker.withContainer(once) { _, _ in
                try await RealDocker.withContainer(other, started: false) { second, _ in
                    for selected in [project, nil] {
                        let selector = DockerContainer.Selector.compose(project: selected, service: "lb-\(project)")
                        #expect(try await engine.find(selector).name == name)
                    }
                    _ = try await engine.send(.post, ["containers", second, "start"])
                    let both = try scene.reloader(.compose(project: project, service: "lb-\(project)"))
                    let findings = await both.check(bundlePaths: [scene.site.path])
                    #expect(findings.map(\.id) == ["docker-container-ambiguous"])
                    #expect(findings.first?.message.contains(name) == true)
                    #expect(findings.first?.message.contains(second) == true)
                    #expect(await code { _ = try await both.reload(within: .seconds(5)) } == .targetAmbiguous)
                }
            }
        }
    }

    @Test func findsAContainerByItsIdAndTheBeginningOfIt() async throws {
        try await RealDocker.withContainer(scene.recipe) { name, engine in
            let id = try await engine.find(.name(name)).id
            #expect(try await engine.find(.name(id)).name == name)
            #expect(try await engine.find(.name(String(id.prefix(20)))).name == name)
        }
    }

    /// Compose's `init: true`: process 1 passes the signal on.
    @Test func reloadsBehindAnInitThatPassesSignalsOn() async throws {
        var recipe = scene.recipe
        recipe.hasInit = true
        try await RealDocker.withContainer(recipe) { name, _ in
            try await scene.waitUntilServed()
            let reloader = try scene.reloader(.name(name))
            #expect(await reloader.check(bundlePaths: [scene.site.path]) == [])
            let new = try scene.site.bundle(2)
            try await scene.install(new)
            _ = try await reloader.reload(within: .seconds(20))
            #expect(try await scene.serves(new.fingerprint))
        }
    }

    /// Two files, in order; the second would be nothing without the first.
    @Test func validatesEveryFileThatHAProxyWasStartedWith() async throws {
        let text = try String(contentsOfFile: scene.site.directory.path("conf/haproxy.cfg"), encoding: .utf8)
        let parts = text.components(separatedBy: "frontend https-in")
        try scene.site.directory.write(parts[0], to: "conf/1.cfg")
        try scene.site.directory.write("frontend https-in" + parts[1], to: "conf/2.cfg")
        var recipe = scene.recipe
        recipe.command = ["haproxy", "-f", "/conf/1.cfg", "-f", "/conf/2.cfg"]
        try await RealDocker.withContainer(recipe) { name, _ in
            try await scene.waitUntilServed()
            let reloader = try scene.reloader(.name(name))
            _ = try await reloader.reload(within: .seconds(20))
            try scene.site.directory.write("nonsense\n", to: "conf/2.cfg")
            let failure = await error { _ = try await reloader.reload(within: .seconds(20)) }
            #expect(failure?.message.contains("/conf/2.cfg:1") == true, "\(failure?.message ?? "no error")")
        }
    }

    /// Its output is not framed then, and on another stream.
    @Test func readsTheLogOfAContainerWithATerminal() async throws {
        var recipe = scene.recipe
        recipe.hasTerminal = true
        try await RealDocker.withContainer(recipe) { name, engine in
            try await scene.waitUntilServed()
            let begin = Date()
            _ = try await scene.reloader(.name(name)).reload(within: .seconds(20))
            let log = try await engine.errors(of: try await engine.inspect(name), since: begin)
            #expect(ReloadLog(log).progress == .loaded, "\(log)")
        }
    }

    /// A volume of the engine's own, and one that is another name of a directory of the host.
    @Test(arguments: [false, true])
    func findsTheBundleInAVolume(isBound: Bool) async throws {
        let volume = "certs-test-\(UUID().uuidString.lowercased())"
        let options = ["type": "none", "o": "bind", "device": scene.site.directory.path("certs")]
        let engine = try await RealDocker.engine()
        let made = try await engine.send(
            .post, ["volumes", "create"],
            body: try JSONSerialization.data(withJSONObject: ["Name": volume, "DriverOpts": isBound ? options : [:]]))
        var recipe = RealDocker.Recipe()
        recipe.command = ["sh", "-c", "exec sleep 600"]
        recipe.binds = ["\(volume):/certs"]
        try await RealDocker.withContainer(recipe) { name, engine in
            let mounted = try await engine.inspect(name)
            let path =
                try isBound ? scene.site.path : #require(mounted.mounts.first?.source) + "/server.pem"
            // The container is none for a reload; its mounts are what counts here.
            let found = try await RunningContainer.locate(
                DockerContainer(selector: .name(name), engineSocket: try RealDocker.socket), reply: .seconds(20))
            #expect(await DockerReloader.mountFindings(found, [path], isRestarted: false) == [])
            let elsewhere = scene.site.directory.path("elsewhere/server.pem")
            #expect(
                await DockerReloader.mountFindings(found, [elsewhere], isRestarted: false).map(\.id)
                    == ["docker-bundle-not-mounted"])
        }
        _ = try await engine.send(.delete, ["volumes", volume])
        #expect(!made.isEmpty)
    }

    private func waitForFile(_ path: String) async throws {
        let end = ContinuousClock.now + .seconds(20)
        while !FileManager.default.fileExists(atPath: path) {
            guard ContinuousClock.now < end else { throw RealDocker.Failed(description: "the client got no answer") }
            try await Task.sleep(for: .milliseconds(20))
        }
    }
}
