import CertsCore
import CertsTesting
import Foundation
import Testing

@testable import CertsHAProxy

/// What every target must do, whatever its reload method, with the real HAProxy.
@Suite(.serialized) struct TargetConformanceTests {
    enum Method: String, CaseIterable, Sendable {
        case runtime, signalUSR2, signalHUP, command
    }

    let site: Site
    let haproxy: RealHAProxy

    init() async throws {
        site = try Site()
        haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
    }

    private func target(_ method: Method) throws -> any DeploymentTarget {
        let reload: ReloadMethod =
            switch method {
            case .runtime: .runtime(socket: haproxy.socket)
            case .signalUSR2: .signal(pidFile: haproxy.pidFile, signal: .usr2)
            case .signalHUP: .signal(pidFile: haproxy.pidFile, signal: .hup)
            case .command: .command(.init(arguments: ["kill", "-USR2", "\(haproxy.pid)"]))
            }
        return try site.target(reload, port: haproxy.port)
    }

    private func prepare(_ target: any DeploymentTarget, _ bundle: StagedBundle) async throws -> PreparedDeployment {
        let prepared = try await target.prepare(bundle, fallback: site.first, now: Date())
        #expect(prepared.findings.isEmpty)
        #expect(prepared.previousBundle == site.first.pem)
        #expect(prepared.receipt.previous?.leaf == site.first.fingerprint)
        #expect(prepared.receipt.previous?.attributes.mode == 0o640)
        #expect(prepared.receipt.ownBaseline == [site.first.fingerprint])
        return prepared
    }

    private func expectRestored(_ target: any DeploymentTarget, _ receipt: DeploymentReceipt) async throws {
        #expect(try await target.verifyRestored(receipt).map(\.served) == [site.first.fingerprint])
        #expect(try await Site.served(haproxy.port) == site.first.fingerprint)
        #expect(site.onDisk == site.first.pem.data)
        #expect(site.modeOnDisk == 0o640)
        #expect(try haproxy.ask("show ssl cert").contains("# transaction") == false)
    }

    @Test(arguments: Method.allCases)
    func deploysAndProvesIt(method: Method) async throws {
        let target = try target(method)
        let new = try site.bundle(2)
        let prepared = try await prepare(target, new)
        #expect(site.onDisk == site.first.pem.data)
        #expect(try await Site.served(haproxy.port) == site.first.fingerprint)
        try await target.apply(new, receipt: prepared.receipt, resuming: false)
        #expect(try await target.verify(new, receipt: prepared.receipt).observations.map(\.served) == [new.fingerprint])
        #expect(try await Site.served(haproxy.port) == new.fingerprint)
        #expect(site.onDisk == new.pem.data)
        #expect(site.modeOnDisk == 0o640)
        #expect(await target.observe(names: new.names).map(\.served) == [new.fingerprint])
    }

    @Test(arguments: Method.allCases)
    func mayBeAppliedAgain(method: Method) async throws {
        let target = try target(method)
        let new = try site.bundle(2)
        let prepared = try await prepare(target, new)
        for resuming in [false, false, true, true] {
            try await target.apply(new, receipt: prepared.receipt, resuming: resuming)
            _ = try await target.verify(new, receipt: prepared.receipt)
        }
        #expect(site.onDisk == new.pem.data)
    }

    @Test(arguments: Method.allCases)
    func restoresWhatWasLiveAndMayDoSoAgain(method: Method) async throws {
        let target = try target(method)
        let new = try site.bundle(2)
        let prepared = try await prepare(target, new)
        try await target.apply(new, receipt: prepared.receipt, resuming: false)
        _ = try await target.verify(new, receipt: prepared.receipt)
        for resuming in [false, true, false] {
            try await target.restore(
                prepared.receipt, previous: prepared.previousBundle, certificate: new.certificate, resuming: resuming)
            try await expectRestored(target, prepared.receipt)
        }
    }

    @Test(arguments: Method.allCases)
    func restoresWhatWasNeverTouched(method: Method) async throws {
        let target = try target(method)
        let new = try site.bundle(2)
        let prepared = try await prepare(target, new)
        for resuming in [false, true] {
            try await target.restore(
                prepared.receipt, previous: prepared.previousBundle, certificate: new.certificate, resuming: resuming)
            try await expectRestored(target, prepared.receipt)
        }
    }

    /// A crash of certs after each effect of `apply`: the next run goes on, or goes back.
    @Test(arguments: Method.allCases, [false, true])
    func convergesAfterACrash(method: Method, goesOn: Bool) async throws {
        let target = try target(method)
        let new = try site.bundle(2)
        let receipt = try await prepare(target, new).receipt
        let leftovers: [() throws -> Void] =
            method == .runtime
            ? [
                { try haproxy.ask("set ssl cert \(site.path) <<", payload: new.pem.data) },
                {
                    try haproxy.ask("set ssl cert \(site.path) <<", payload: new.pem.data)
                    try haproxy.ask("commit ssl cert \(site.path)")
                },
            ]
            : [{ try new.pem.data.write(to: URL(filePath: site.path)) }]
        for leave in leftovers {
            try leave()
            if goesOn {
                try await target.apply(new, receipt: receipt, resuming: true)
                #expect(try await target.verify(new, receipt: receipt).observations.map(\.served) == [new.fingerprint])
                #expect(site.onDisk == new.pem.data)
            }
            chmod(site.path, 0o640)
            try await target.restore(receipt, previous: site.first.pem, certificate: new.certificate, resuming: true)
            try await expectRestored(target, receipt)
        }
    }

    @Test(arguments: Method.allCases)
    func saysWhatIsServedInstead(method: Method) async throws {
        let target = try site.target(
            try target(method).declaration.reload, port: haproxy.port, within: .milliseconds(300))
        let new = try site.bundle(2)
        let receipt = try await target.prepare(new, fallback: nil, now: Date()).receipt
        let failure = await error { _ = try await target.verify(new, receipt: receipt) }
        #expect(failure?.code == .servedOther)
        #expect(failure?.message.contains(site.first.fingerprint.short) == true)
        #expect(failure?.message.contains("CN=www.example.com") == true)
    }

    @Test func agreesWithOpenSSL() async throws {
        let seen = try Tool.run(
            "sh", "-c",
            "openssl s_client -connect 127.0.0.1:\(haproxy.port) -servername \(Site.host) </dev/null 2>/dev/null "
                + "| openssl x509 -noout -fingerprint -sha256 | sed 's/.*=//'")
        let served = try await Site.served(haproxy.port)
        #expect(Fingerprint(hex: seen.output.trimmingCharacters(in: .whitespacesAndNewlines)) == served)
    }
}
