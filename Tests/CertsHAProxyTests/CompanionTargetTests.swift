import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

@testable import CertsHAProxy

/// What lies beside a bundle, deployed and brought back with it.
@Suite(.serialized) struct CompanionTargetTests {
    enum Method: String, CaseIterable {
        case runtime, master
    }

    let site: Site
    let signer: ResponseSigner

    init() throws {
        site = try Site()
        signer = ResponseSigner(issuer: site.pki.intermediate)
    }

    private func leaf(_ bundle: StagedBundle) throws -> Certificate {
        try #require(CanonicalBundle.leaf(of: bundle.pem))
    }

    private func response(_ bundle: StagedBundle) throws -> Data { try signer.response(about: [leaf(bundle)]) }

    private func with(_ companions: [Companion], _ bundle: StagedBundle) -> StagedBundle {
        var members = bundle.members
        members[0].companions = companions
        return StagedBundle(
            certificate: bundle.certificate, revision: bundle.revision, members: members, names: bundle.names)
    }

    private func file(_ kind: Companion.Kind) -> String { "\(site.path).\(kind.rawValue)" }
    private func onDisk(_ kind: Companion.Kind) -> Data? { FileManager.default.contents(atPath: file(kind)) }

    private func target(_ method: Method, _ haproxy: RealHAProxy) throws -> any DeploymentTarget {
        try site.target(
            method == .runtime ? .runtime(socket: haproxy.socket) : .master(socket: haproxy.masterSocket),
            port: haproxy.port)
    }

    private func served(_ haproxy: RealHAProxy) async throws -> ServedCertificate {
        try await HandshakeProber().probe(
            Endpoint(host: "127.0.0.1", port: haproxy.port, serverName: Site.host), as: ClientProfile(),
            deadline: .seconds(5))
    }

    private func restoration(
        _ bundle: StagedBundle, _ prepared: PreparedDeployment, resuming: Bool = false
    ) -> BundleRestoration {
        BundleRestoration(
            certificate: bundle.certificate, receipt: prepared.receipt, previous: prepared.previous,
            resuming: resuming)
    }

    // MARK: Staples

    @Test(arguments: Method.allCases)
    func staplesAtOnceAndBringsTheOldStapleBack(method: Method) async throws {
        let old = try response(site.first)
        try site.directory.write(old, to: "certs/server.pem.ocsp")
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        #expect(try await served(haproxy).staple == old)
        let target = try target(method, haproxy)
        let plain = try site.bundle(2)
        let staple = try response(plain)
        let new = with([Companion(.ocsp, staple)], plain)
        let prepared = try await target.prepare(new, fallback: nil, now: Date())
        #expect(prepared.receipt.files.map(\.role).contains(.companion(.ocsp, slot: nil)))
        for resuming in [false, true] {
            try await target.apply(new, receipt: prepared.receipt, resuming: resuming)
            #expect(
                try await target.verify(new, receipt: prepared.receipt).findings.contains { $0.id == "not-stapled" }
                    == false)
            #expect(try await served(haproxy).staple == staple)
            #expect(onDisk(.ocsp) == staple)
        }
        for resuming in [false, true] {
            #expect(await target.restore([restoration(new, prepared, resuming: resuming)]) == [nil])
            _ = try await target.verifyRestored(prepared.receipt)
            #expect(try await served(haproxy).fingerprint == site.first.fingerprint)
            #expect(try await served(haproxy).staple == old)
            #expect(onDisk(.ocsp) == old)
        }
    }

    @Test(arguments: Method.allCases)
    func removesTheStapleOfAnEarlierLeafAndBringsItBack(method: Method) async throws {
        let old = try response(site.first)
        try site.directory.write(old, to: "certs/server.pem.ocsp")
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let target = try target(method, haproxy)
        let new = try site.bundle(2)
        let prepared = try await target.prepare(new, fallback: nil, now: Date())
        try await target.apply(new, receipt: prepared.receipt, resuming: false)
        _ = try await target.verify(new, receipt: prepared.receipt)
        #expect(onDisk(.ocsp) == nil)
        #expect(try await served(haproxy).staple == nil)
        #expect(await target.restore([restoration(new, prepared)]) == [nil])
        _ = try await target.verifyRestored(prepared.receipt)
        #expect(onDisk(.ocsp) == old)
        #expect(try await served(haproxy).staple == old)
    }

    /// A refresh: the same leaf with a later response.
    @Test(arguments: Method.allCases)
    func refreshesTheStapleOfTheSameLeaf(method: Method) async throws {
        try site.directory.write(try response(site.first), to: "certs/server.pem.ocsp")
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let target = try target(method, haproxy)
        let later = try response(site.first)
        let new = with([Companion(.ocsp, later)], site.first)
        let prepared = try await target.prepare(new, fallback: nil, now: Date())
        try await target.apply(new, receipt: prepared.receipt, resuming: false)
        #expect(
            try await target.verify(new, receipt: prepared.receipt).findings.contains { $0.id == "not-stapled" }
                == false)
        #expect(try await served(haproxy).staple == later)
        #expect(onDisk(.ocsp) == later)
    }

    /// HAProxy takes it, says `Success!`, and staples nothing.
    @Test func refusesAResponseThatHAProxyWouldDropInSilence() async throws {
        let old = try response(site.first)
        try site.directory.write(old, to: "certs/server.pem.ocsp")
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let target = try target(.runtime, haproxy)
        let foreign = try response(try site.bundle(9, names: ["other.test"]))
        let new = with([Companion(.ocsp, foreign)], try site.bundle(2))
        let prepared = try await target.prepare(new, fallback: nil, now: Date())
        let failure = await error { try await target.apply(new, receipt: prepared.receipt, resuming: false) }
        #expect(failure?.code == .targetRefused)
        #expect(failure?.message.contains("OCSP response") == true, "\(String(describing: failure))")
        #expect(try haproxy.ask("show ssl cert").contains("# transaction") == false)
        #expect(try await served(haproxy).staple == old)
        #expect(site.onDisk == site.first.pem.data && onDisk(.ocsp) == old)
        for junk in [Data("no response".utf8), Data(count: 9)] {
            let new = with([Companion(.ocsp, junk)], try site.bundle(3))
            #expect(
                await code { try await target.apply(new, receipt: prepared.receipt, resuming: false) } == .targetRefused
            )
            #expect(try haproxy.ask("show ssl cert").contains("# transaction") == false)
        }
        #expect(try await served(haproxy).fingerprint == site.first.fingerprint)
    }

    /// What lies beside the old bundle may be of no use any more; the bundle comes back all the same.
    @Test(arguments: Method.allCases)
    func bringsTheBundleBackWhereItsOldStapleIsOfNoUse(method: Method) async throws {
        let foreign = try response(try site.bundle(9, names: ["other.test"]))
        try site.directory.write(foreign, to: "certs/server.pem.ocsp")
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let target = try target(method, haproxy)
        let plain = try site.bundle(2)
        let new = with([Companion(.ocsp, try response(plain))], plain)
        let prepared = try await target.prepare(new, fallback: nil, now: Date())
        try await target.apply(new, receipt: prepared.receipt, resuming: false)
        #expect(await target.restore([restoration(new, prepared)]) == [nil])
        _ = try await target.verifyRestored(prepared.receipt)
        #expect(try await served(haproxy).fingerprint == site.first.fingerprint)
        #expect(onDisk(.ocsp) == foreign)
    }

    @Test(arguments: Method.allCases)
    func writesTheIssuerWhereTheChainHasNone(method: Method) async throws {
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let target = try target(method, haproxy)
        let plain = try site.bundle(2, chainCopies: 0)
        let issuer = Data(site.pki.intermediate.certificate.pem.utf8)
        let staple = try response(plain)
        let new = with([Companion(.issuer, issuer), Companion(.ocsp, staple)], plain)
        let prepared = try await target.prepare(new, fallback: nil, now: Date())
        try await target.apply(new, receipt: prepared.receipt, resuming: false)
        #expect(
            try await target.verify(new, receipt: prepared.receipt).findings.contains { $0.id == "not-stapled" }
                == false)
        #expect(onDisk(.issuer) == issuer)
        #expect(try await served(haproxy).staple == staple)
        haproxy.stop()
        let again = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        #expect(try await served(again).staple == staple)
        again.stop()
        let third = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let back = try self.target(method, third)
        #expect(await back.restore([restoration(new, prepared, resuming: true)]) == [nil])
        #expect(onDisk(.issuer) == nil && onDisk(.ocsp) == nil)
        #expect(try await served(third).fingerprint == site.first.fingerprint)
    }

    /// Somebody else may staple for us: what lies beside the very leaf that is deployed again is theirs.
    @Test func leavesWhatLiesBesideTheSameLeaf() async throws {
        let theirs = try response(site.first)
        try site.directory.write(theirs, to: "certs/server.pem.ocsp")
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        for method in [Method.master, .runtime] {
            let target = try target(method, haproxy)
            let receipt = try await target.prepare(site.first, fallback: nil, now: Date()).receipt
            try await target.apply(site.first, receipt: receipt, resuming: false)
            _ = try await target.verify(site.first, receipt: receipt)
            #expect(onDisk(.ocsp) == theirs)
            #expect(try await served(haproxy).staple == theirs, "\(method)")
        }
    }

    // MARK: Timestamps

    /// A list with one SCT (RFC 6962 §3.3), as long as a real one.
    private static let timestamps = Data([0x00, 0x79, 0x00, 0x77] + [UInt8](repeating: 0, count: 0x77))

    private func servesTimestamps(_ haproxy: RealHAProxy) throws -> Bool {
        let client = try Tool.run(
            "openssl", "s_client", "-connect", "127.0.0.1:\(haproxy.port)", "-servername", Site.host, "-tls1_2",
            "-serverinfo", "18")
        #expect(client.output.contains("Server certificate"), "\(client.output)")
        return client.output.contains("SERVERINFO FOR EXTENSION 18")
    }

    @Test func writesTimestampsAndSaysThatTheyWaitForAReload() async throws {
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let target = try target(.runtime, haproxy)
        let new = with([Companion(.sctl, Self.timestamps)], try site.bundle(2))
        let prepared = try await target.prepare(new, fallback: nil, now: Date())
        #expect(prepared.findings.map(\.id) == ["sct-after-reload"])
        try await target.apply(new, receipt: prepared.receipt, resuming: false)
        _ = try await target.verify(new, receipt: prepared.receipt)
        #expect(onDisk(.sctl) == Self.timestamps)
        #expect(try !servesTimestamps(haproxy))
        // The way back, before any reload, is a swap again.
        #expect(await target.restore([restoration(new, prepared)]) == [nil])
        _ = try await target.verifyRestored(prepared.receipt)
        #expect(onDisk(.sctl) == nil)

        try await target.apply(new, receipt: prepared.receipt, resuming: false)
        haproxy.stop()
        let again = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        #expect(try servesTimestamps(again))
        // And after it none: HAProxy would end.
        let back = try self.target(.runtime, again)
        let failures = await back.restore([restoration(new, prepared, resuming: true)])
        #expect(failures[0]?.code == .targetNotReferenced)
        #expect(failures[0]?.message.contains("would crash") == true, "\(failures)")
        #expect(again.isRunning)
        #expect(try await served(again).fingerprint == new.fingerprint)
    }

    @Test func showsThatHAProxyEndsAtASwapWithTimestamps() async throws {
        try site.directory.write(Self.timestamps, to: "certs/server.pem.sctl")
        let other = try site.directory.write(
            try site.bundle("other", names: ["b.test"]).pem.data, to: "certs/other.pem")
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path, other], isMaster: false)
        #expect(try servesTimestamps(haproxy))
        let next = try site.bundle("other", names: ["b.test"])
        try haproxy.ask("set ssl cert \(other) <<", payload: next.pem.data)
        #expect(
            try haproxy.ask("commit ssl cert \(other)").contains("Success!"), "only its own certificate is concerned")
        try haproxy.ask("set ssl cert \(site.path) <<", payload: try site.bundle(2).pem.data)
        #expect(haproxy.isRunning)
        #expect(try haproxy.ask("commit ssl cert \(site.path)") == "")
        #expect(try await ReloadSite.eventually { !haproxy.isRunning })
    }

    @Test func reloadsInsteadWhereThereAreTimestamps() async throws {
        try site.directory.write(Self.timestamps, to: "certs/server.pem.sctl")
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let new = try site.bundle(2)
        let alone = try target(.runtime, haproxy)
        let failure = await error { _ = try await alone.prepare(new, fallback: nil, now: Date()) }
        #expect(failure?.code == .targetNotReferenced)
        #expect(failure?.hint?.contains("fallback") == true)

        let target = try site.target(
            .runtime(socket: haproxy.socket), fallback: .master(socket: haproxy.masterSocket), port: haproxy.port)
        let prepared = try await target.prepare(new, fallback: nil, now: Date())
        #expect(prepared.receipt.reason?.contains("SCTs") == true)
        try await target.apply(new, receipt: prepared.receipt, resuming: false)
        _ = try await target.verify(new, receipt: prepared.receipt)
        #expect(onDisk(.sctl) == nil, "those of the earlier leaf")
        #expect(try !servesTimestamps(haproxy))
        #expect(await target.restore([restoration(new, prepared)]) == [nil])
        _ = try await target.verifyRestored(prepared.receipt)
        #expect(onDisk(.sctl) == Self.timestamps)
        #expect(try servesTimestamps(haproxy))
        #expect(haproxy.isRunning)
    }
}
