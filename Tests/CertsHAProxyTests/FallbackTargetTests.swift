import CertsCore
import CertsTesting
import Foundation
import Testing

@testable import CertsHAProxy

/// What HAProxy cannot do while it runs is done by a reload, and said so.
@Suite(.serialized) struct FallbackTargetTests {
    private func target(_ site: Site, _ haproxy: RealHAProxy) throws -> any DeploymentTarget {
        try site.target(
            .runtime(socket: haproxy.socket), fallback: .master(socket: haproxy.masterSocket), port: haproxy.port)
    }

    private func pid(_ haproxy: RealHAProxy) throws -> Int {
        try RuntimeReply.process(try haproxy.ask("show info")).pid
    }

    private func restoration(_ bundle: StagedBundle, _ prepared: PreparedDeployment) -> BundleRestoration {
        BundleRestoration(
            certificate: bundle.certificate, receipt: prepared.receipt, previous: prepared.previous, resuming: false)
    }

    private func expectReload(_ prepared: PreparedDeployment, because words: String) {
        #expect(prepared.receipt.reloads && prepared.receipt.method == "master")
        #expect(prepared.receipt.reason?.contains(words) == true, "\(prepared.receipt.reason ?? "no reason")")
        let finding = prepared.findings.first { $0.id == "reload-instead" }
        #expect(finding?.severity == .info)
        #expect(finding?.message.contains(words) == true && finding?.message.contains("master") == true)
    }

    @Test func swapsWhatCanBeSwapped() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let target = try target(site, haproxy)
        let before = try pid(haproxy)
        let new = try site.bundle(2)
        let prepared = try await target.prepare(new, fallback: nil, now: Date())
        #expect(!prepared.receipt.reloads && prepared.receipt.method == "runtime" && prepared.receipt.reason == nil)
        try await target.apply(new, receipt: prepared.receipt, resuming: false)
        _ = try await target.verify(new, receipt: prepared.receipt)
        #expect(try pid(haproxy) == before)
    }

    @Test func reloadsForABundleThatIsTooLarge() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let target = try target(site, haproxy)
        let before = try pid(haproxy)
        let large = try site.bundle(2, chainCopies: 40)
        let prepared = try await target.prepare(large, fallback: nil, now: Date())
        expectReload(prepared, because: "16000")
        let preview = await target.preview(try declaration(), next: large, among: [try declaration()])
        #expect(preview.method == "master" && preview.reason.contains("16000"), "\(preview)")
        try await target.apply(large, receipt: prepared.receipt, resuming: false)
        _ = try await target.verify(large, receipt: prepared.receipt)
        #expect(try pid(haproxy) != before)
        #expect(await target.restore([restoration(large, prepared)]) == [nil])
        _ = try await target.verifyRestored(prepared.receipt)
        // The next one is small again.
        let small = try await target.prepare(try site.bundle(3), fallback: nil, now: Date())
        #expect(!small.receipt.reloads)
    }

    private func declaration(name: String = "messenger") throws -> CertificateDeclaration {
        CertificateDeclaration(name: try Name(name), names: [.dns(Site.host)], issuer: try Name("local"))
    }

    @Test func reloadsForANameInCrt() async throws {
        let site = try Site(file: "certs/server.crt")
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let target = try target(site, haproxy)
        let findings = await target.inspect([try declaration()])
        #expect(findings.first { $0.id == "crt-name" }?.severity == .info, "\(findings)")
        #expect(findings.filter { $0.isBlocking } == [])
        let new = try site.bundle(2)
        let prepared = try await target.prepare(new, fallback: nil, now: Date())
        expectReload(prepared, because: "ends in .crt")
        try await target.apply(new, receipt: prepared.receipt, resuming: false)
        _ = try await target.verify(new, receipt: prepared.receipt)
        #expect(try await Site.served(haproxy.port) == new.fingerprint)
    }

    /// A file in a directory that HAProxy loads whole, which it does not have yet.
    @Test func reloadsForACertificateThatIsNotLoaded() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.directory.path("certs")])
        var declaration = try GrowingSite.node(site, haproxy, bundle: "certs/{name}.pem")
        declaration.fallback = .master(socket: haproxy.masterSocket)
        let target = site.target(declaration)
        let new = try site.bundle("other", names: [GrowingSite.newHost])
        let prepared = try await target.prepare(new, fallback: nil, now: Date())
        expectReload(prepared, because: "HAProxy has no certificate from")
        try await target.apply(new, receipt: prepared.receipt, resuming: false)
        _ = try await target.verify(new, receipt: prepared.receipt)
        #expect(try await Site.served(haproxy.port, serverName: GrowingSite.newHost) == new.fingerprint)
        #expect(await target.restore([restoration(new, prepared)]) == [nil])
        _ = try await target.verifyRestored(prepared.receipt)
        #expect(!FileManager.default.fileExists(atPath: site.directory.path("certs/other.pem")))
        #expect(try await Site.served(haproxy.port, serverName: GrowingSite.newHost) == site.first.fingerprint)
    }

    /// New, and too large for the runtime API: the list gets its line before the reload, and loses it after a rollback.
    @Test func writesTheLineOfANewCertificateBeforeTheReload() async throws {
        let growing = try await GrowingSite.crtList()
        let (site, haproxy, list) = (growing.site, growing.haproxy, growing.list.rawValue)
        let before = try String(contentsOfFile: list, encoding: .utf8)
        var declaration = try growing.declaration(options: "alpn h2", filters: [GrowingSite.newHost])
        declaration.fallback = .master(socket: haproxy.masterSocket)
        let target = site.target(declaration)
        let large = try site.bundle(2, names: [GrowingSite.newHost], chainCopies: 40)
        let prepared = try await target.prepare(large, fallback: nil, now: Date())
        expectReload(prepared, because: "16000")
        for resuming in [false, true] {
            try await target.apply(large, receipt: prepared.receipt, resuming: resuming)
            _ = try await target.verify(large, receipt: prepared.receipt)
            #expect(
                try String(contentsOfFile: list, encoding: .utf8)
                    == before + "\(growing.name) [alpn h2] \(GrowingSite.newHost)\n")
        }
        let changes = site.files.changes.count
        #expect(await target.restore([restoration(large, prepared)]) == [nil])
        _ = try await target.verifyRestored(prepared.receipt)
        #expect(try String(contentsOfFile: list, encoding: .utf8) == before)
        // Never a line without its file: HAProxy would not start.
        #expect(Array(site.files.changes[changes...]) == ["install site.list", "remove new.pem"])
    }

    @Test func takesOneReloadForThoseThatNeedOneAndNoneForTheOthers() async throws {
        let site = try Site()
        let names = ["a", "b", "c", "d"]
        for name in names {
            let first = try site.bundle(name, names: ["\(name).test"])
            try site.directory.write(first.pem.data, to: "certs/\(name).pem")
        }
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.directory.path("certs")])
        var declaration = try GrowingSite.node(site, haproxy, bundle: "certs/{name}.pem")
        declaration.fallback = .master(socket: haproxy.masterSocket)
        declaration.endpoints = [Endpoint(host: "127.0.0.1", port: haproxy.port)]
        let target = site.target(declaration)
        var deployments: [BundleDeployment] = []
        for (index, name) in names.enumerated() {
            let chain = index.isMultiple(of: 2) ? 1 : 40
            let bundle = try site.bundle(name, names: ["\(name).test"], chainCopies: chain)
            let prepared = try await target.prepare(bundle, fallback: nil, now: Date())
            #expect(prepared.receipt.reloads == !index.isMultiple(of: 2))
            deployments.append(BundleDeployment(bundle: bundle, receipt: prepared.receipt, resuming: false))
        }
        let reloads = try reloads(of: haproxy)
        #expect(await target.apply(deployments) == [nil, nil, nil, nil])
        for deployment in deployments {
            _ = try await target.verify(deployment.bundle, receipt: deployment.receipt)
            let host = "\(deployment.bundle.certificate).test"
            #expect(try await Site.served(haproxy.port, serverName: host) == deployment.bundle.fingerprint)
        }
        #expect(try self.reloads(of: haproxy) == reloads + 1)
    }

    private func reloads(of haproxy: RealHAProxy) throws -> Int {
        let reply = try FakeHAProxy.ask(haproxy.masterSocket, Data("show proc; quit\n".utf8))
        let master = reply.split(separator: "\n").first { $0.contains(" master ") }
        return try #require(master?.split(separator: " ").dropFirst(2).first.flatMap { Int($0) }, "\(reply)")
    }

    /// A reload would change other certificates than ours, or none: what is wrong is told.
    @Test func doesNotReloadForWhatAReloadCannotMend() async throws {
        let site = try Site()
        let other = try site.directory.write(
            try site.bundle("other", names: ["other.test"]).pem.data, to: "certs/other.pem")
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path, other])
        let target = try target(site, haproxy)
        let before = try pid(haproxy)
        try haproxy.ask("set ssl cert \(other) <<", payload: try site.bundle("other", names: ["other.test"]).pem.data)
        let failure = await code { _ = try await target.prepare(try site.bundle(2), fallback: nil, now: Date()) }
        #expect(failure == .targetForeignTransaction)
        try haproxy.ask("abort ssl cert \(other)")
        let without = try site.target(
            .runtime(socket: haproxy.operatorSocket), fallback: .master(socket: haproxy.masterSocket),
            port: haproxy.port)
        #expect(
            await code { _ = try await without.prepare(try site.bundle(2), fallback: nil, now: Date()) }
                == .targetRefused)
        #expect(try pid(haproxy) == before)
    }

    /// On HAProxy 2.6 they end the process, together with those for a certificate (haproxy#3165).
    @Test func hasNoCommandForFilesOfCAs() throws {
        let sources = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../Sources/CertsHAProxy")
        let files = try #require(FileManager.default.enumerator(at: sources, includingPropertiesForKeys: nil))
        var count = 0
        for case let file as URL in files where file.pathExtension == "swift" {
            let text = try String(contentsOf: file, encoding: .utf8)
            for command in ["set", "new", "commit", "abort", "del"] {
                for kind in ["ca-file", "crl-file"] {
                    #expect(!text.contains("\(command) ssl \(kind)"), "\(file.lastPathComponent)")
                }
            }
            count += text.contains("set ssl cert ") ? 1 : 0
        }
        #expect(count > 0, "the commands are where this test looks")
    }
}
