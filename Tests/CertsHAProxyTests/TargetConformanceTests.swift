import CertsCore
import CertsTesting
import Foundation
import Testing

@testable import CertsHAProxy

/// What every target must do, whatever its reload method, with the real HAProxy.
@Suite(.serialized) struct TargetConformanceTests {
    enum Method: String, CaseIterable, Sendable {
        case runtime, master, signalUSR2, signalHUP, command, systemd, docker
        /// With a fallback that is not needed.
        case runtimeInFront
        /// With one that is: the bundle is too large for the runtime API.
        case fallback

        var isHot: Bool { self == .runtime || self == .runtimeInFront }
    }

    /// One HAProxy that serves a first bundle, and the means to replace it.
    struct Stage {
        let method: Method
        let site: Site
        let port: Int
        /// `nil` in a container.
        var haproxy: RealHAProxy?
        let target: (_ within: Duration) throws -> any DeploymentTarget

        func bundle(_ revision: Int) throws -> StagedBundle {
            try site.bundle(revision, chainCopies: method == .fallback ? 40 : 1)
        }

        func prepare(_ target: any DeploymentTarget, _ bundle: StagedBundle) async throws -> PreparedDeployment {
            let prepared = try await target.prepare(bundle, fallback: site.first, now: Date())
            #expect(prepared.findings.map(\.id) == (method == .fallback ? ["reload-instead"] : []))
            #expect(prepared.receipt.reloads == !method.isHot)
            #expect((prepared.receipt.reason != nil) == (method == .fallback))
            #expect(prepared.previousBundle == site.first.pem)
            #expect(prepared.receipt.previous?.leaf == site.first.fingerprint)
            #expect(prepared.receipt.previous?.attributes.mode == 0o640)
            #expect(prepared.receipt.ownBaseline == [site.first.fingerprint])
            return prepared
        }

        func expectRestored(_ target: any DeploymentTarget, _ receipt: DeploymentReceipt) async throws {
            #expect(try await target.verifyRestored(receipt).map(\.served) == [site.first.fingerprint])
            #expect(try await Site.served(port) == site.first.fingerprint)
            #expect(site.onDisk == site.first.pem.data)
            #expect(site.modeOnDisk == 0o640)
            if let haproxy { #expect(try haproxy.ask("show ssl cert").contains("# transaction") == false) }
        }
    }

    private func on(_ method: Method, _ body: (Stage) async throws -> Void) async throws {
        guard method != .docker else { return try await inContainer(body) }
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        try await body(
            Stage(method: method, site: site, port: haproxy.port, haproxy: haproxy) { within in
                try Self.target(method, site, haproxy, within)
            })
        withExtendedLifetime(haproxy) {}
    }

    private static func target(
        _ method: Method, _ site: Site, _ haproxy: RealHAProxy, _ within: Duration
    ) throws -> any DeploymentTarget {
        let runtime = ReloadMethod.runtime(socket: haproxy.socket)
        let (reload, fallback): (ReloadMethod, ReloadMethod?) =
            switch method {
            case .runtime: (runtime, nil)
            case .runtimeInFront, .fallback: (runtime, .master(socket: haproxy.masterSocket))
            case .master: (.master(socket: haproxy.masterSocket), nil)
            case .signalUSR2: (.signal(pidFile: haproxy.pidFile, signal: .usr2), nil)
            case .signalHUP: (.signal(pidFile: haproxy.pidFile, signal: .hup), nil)
            case .command: (.command(.init(arguments: ["kill", "-USR2", "\(haproxy.pid)"])), nil)
            case .systemd, .docker: (.systemd(unit: "haproxy.service"), nil)
            }
        guard method != .systemd else {
            let reloader = try FakeSystemctl.install(
                in: site.directory, state: FakeSystemctl.state(pid: haproxy.pid),
                onReload: "kill -USR2 \(haproxy.pid)")
            return try site.reloadTarget(reload, reloader, port: haproxy.port, within: within)
        }
        return try site.target(reload, fallback: fallback, port: haproxy.port, within: within)
    }

    private func inContainer(_ body: (Stage) async throws -> Void) async throws {
        let scene = try DockerScene()
        try await RealDocker.withContainer(scene.recipe) { name, _ in
            try await scene.waitUntilServed()
            try await body(
                Stage(method: .docker, site: scene.site, port: scene.port) { within in
                    try scene.site.reloadTarget(
                        .docker(DockerContainer(selector: .name(name))), try scene.reloader(.name(name)),
                        port: scene.port, within: within)
                })
        }
    }

    // MARK: What must hold

    @Test(arguments: Method.allCases)
    func deploysAndProvesIt(method: Method) async throws {
        try await on(method) { stage in
            let (site, target) = (stage.site, try stage.target(.seconds(10)))
            let new = try stage.bundle(2)
            let prepared = try await stage.prepare(target, new)
            #expect(site.onDisk == site.first.pem.data)
            #expect(try await Site.served(stage.port) == site.first.fingerprint)
            try await target.apply(new, receipt: prepared.receipt, resuming: false)
            let verified = try await target.verify(new, receipt: prepared.receipt)
            #expect(verified.observations.map(\.served) == [new.fingerprint])
            #expect(try await Site.served(stage.port) == new.fingerprint)
            #expect(site.onDisk == new.pem.data)
            #expect(site.modeOnDisk == 0o640)
            #expect(await target.observe(names: new.names).map(\.served) == [new.fingerprint])
        }
    }

    @Test(arguments: Method.allCases)
    func mayBeAppliedAgain(method: Method) async throws {
        try await on(method) { stage in
            let target = try stage.target(.seconds(10))
            let new = try stage.bundle(2)
            let prepared = try await stage.prepare(target, new)
            for resuming in [false, false, true, true] {
                try await target.apply(new, receipt: prepared.receipt, resuming: resuming)
                _ = try await target.verify(new, receipt: prepared.receipt)
            }
            #expect(stage.site.onDisk == new.pem.data)
        }
    }

    @Test(arguments: Method.allCases)
    func restoresWhatWasLiveAndMayDoSoAgain(method: Method) async throws {
        try await on(method) { stage in
            let target = try stage.target(.seconds(10))
            let new = try stage.bundle(2)
            let prepared = try await stage.prepare(target, new)
            try await target.apply(new, receipt: prepared.receipt, resuming: false)
            _ = try await target.verify(new, receipt: prepared.receipt)
            for resuming in [false, true, false] {
                try await target.restore(
                    prepared.receipt, previous: prepared.previousBundle, certificate: new.certificate,
                    resuming: resuming)
                try await stage.expectRestored(target, prepared.receipt)
            }
        }
    }

    @Test(arguments: Method.allCases)
    func restoresWhatWasNeverTouched(method: Method) async throws {
        try await on(method) { stage in
            let target = try stage.target(.seconds(10))
            let new = try stage.bundle(2)
            let prepared = try await stage.prepare(target, new)
            for resuming in [false, true] {
                try await target.restore(
                    prepared.receipt, previous: prepared.previousBundle, certificate: new.certificate,
                    resuming: resuming)
                try await stage.expectRestored(target, prepared.receipt)
            }
        }
    }

    /// A crash of certs after each effect of `apply`: the next run goes on, or goes back.
    @Test(arguments: Method.allCases, [false, true])
    func convergesAfterACrash(method: Method, goesOn: Bool) async throws {
        try await on(method) { stage in
            let (site, target) = (stage.site, try stage.target(.seconds(10)))
            let new = try stage.bundle(2)
            let receipt = try await stage.prepare(target, new).receipt
            for leave in leftovers(of: new, on: stage) {
                try leave()
                if goesOn {
                    try await target.apply(new, receipt: receipt, resuming: true)
                    let verified = try await target.verify(new, receipt: receipt)
                    #expect(verified.observations.map(\.served) == [new.fingerprint])
                    #expect(site.onDisk == new.pem.data)
                }
                chmod(site.path, 0o640)
                try await target.restore(
                    receipt, previous: site.first.pem, certificate: new.certificate, resuming: true)
                try await stage.expectRestored(target, receipt)
            }
        }
    }

    private func leftovers(of new: StagedBundle, on stage: Stage) -> [() throws -> Void] {
        let site = stage.site
        guard stage.method.isHot, let haproxy = stage.haproxy else {
            return [{ try new.pem.data.write(to: URL(filePath: site.path)) }]
        }
        return [
            { try haproxy.ask("set ssl cert \(site.path) <<", payload: new.pem.data) },
            {
                try haproxy.ask("set ssl cert \(site.path) <<", payload: new.pem.data)
                try haproxy.ask("commit ssl cert \(site.path)")
            },
        ]
    }

    @Test(arguments: Method.allCases)
    func saysWhatIsServedInstead(method: Method) async throws {
        try await on(method) { stage in
            let target = try stage.target(.milliseconds(300))
            let new = try stage.bundle(2)
            let receipt = try await target.prepare(new, fallback: nil, now: Date()).receipt
            let failure = await error { _ = try await target.verify(new, receipt: receipt) }
            #expect(failure?.code == .servedOther)
            #expect(failure?.message.contains(stage.site.first.fingerprint.short) == true)
            #expect(failure?.message.contains("CN=www.example.com") == true)
        }
    }

    @Test func agreesWithOpenSSL() async throws {
        try await on(.runtime) { stage in
            let seen = try Tool.run(
                "sh", "-c",
                "openssl s_client -connect 127.0.0.1:\(stage.port) -servername \(Site.host) </dev/null 2>/dev/null "
                    + "| openssl x509 -noout -fingerprint -sha256 | sed 's/.*=//'")
            let served = try await Site.served(stage.port)
            #expect(Fingerprint(hex: seen.output.trimmingCharacters(in: .whitespacesAndNewlines)) == served)
        }
    }
}
