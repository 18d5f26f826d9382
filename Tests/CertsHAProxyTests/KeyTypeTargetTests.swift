import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

@testable import CertsHAProxy

/// One certificate with an ECDSA and an RSA leaf: `crt NAME.pem` where there are only `NAME.pem.ecdsa` and `NAME.pem.rsa`.
@Suite(.serialized) struct KeyTypeTargetTests {
    static let types: [KeyType] = [.ecdsa, .rsa]

    /// A HAProxy that serves the first pair.
    struct Pair {
        let site: Site
        let haproxy: RealHAProxy
        let first: StagedBundle

        init(_ write: Bool = true, bind: ((Site) throws -> String)? = nil) async throws {
            site = try Site(file: "old/server.pem")
            try FileManager.default.createDirectory(
                atPath: site.directory.path("certs"), withIntermediateDirectories: true)
            first = try Self.bundle(1, site)
            for member in first.members where write {
                try member.pem.data.write(to: URL(filePath: Self.path(site, member.slot)))
            }
            haproxy = try await RealHAProxy.start(
                in: site.directory, crt: write ? [site.directory.path("certs/server.pem")] : [],
                bind: try bind?(site) ?? "")
        }

        static func path(_ site: Site, _ slot: KeyType?) -> String {
            site.directory.path("certs/server.pem\(slot?.bundleSuffix ?? "")")
        }

        static func bundle(_ revision: Int, _ site: Site, swapped: Bool = false) throws -> StagedBundle {
            let members = try types.map { type in
                let key: KeyAlgorithm = (type == .rsa) != swapped ? .rsa2048 : .ecdsaP256
                let one = try site.bundle("messenger", names: [Site.host], algorithm: key)
                return StagedBundle.Member(slot: type, pem: one.pem, leaf: one.leaf, fingerprint: one.fingerprint)
            }
            return StagedBundle(
                certificate: try Name("messenger"), revision: revision, members: members, names: [.dns(Site.host)])
        }

        func bundle(_ revision: Int) throws -> StagedBundle { try Self.bundle(revision, site) }

        func target(
            _ reload: ReloadMethod? = nil, list: String? = nil, fallback: ReloadMethod? = nil
        ) throws -> any DeploymentTarget {
            var declaration = try NodeDeclaration(
                name: "loadbalancer", bundle: site.directory.path("certs/server.pem"),
                reload: reload ?? .runtime(socket: haproxy.socket),
                endpoints: [Endpoint(host: "127.0.0.1", port: haproxy.port, serverName: Site.host)])
            declaration.list = list.map { ListDeclaration(path: $0) }
            declaration.fallback = fallback
            return site.target(declaration)
        }

        /// What a client sees that offers only this type.
        func served(_ type: KeyType, _ version: ClientProfile.Version = .any) async throws -> Fingerprint {
            try await HandshakeProber().probe(
                Endpoint(host: "127.0.0.1", port: haproxy.port, serverName: Site.host),
                as: ClientProfile(version: version, keyType: type), deadline: .seconds(5)
            ).fingerprint
        }

        func onDisk(_ type: KeyType) -> Data? { FileManager.default.contents(atPath: Self.path(site, type)) }

        /// Both members of one revision, served and on disk.
        func expect(_ bundle: StagedBundle, _ comment: Comment? = nil) async throws {
            for member in bundle.members {
                let type = try #require(member.slot)
                for version in ClientProfile.Version.allCases {
                    #expect(try await served(type, version) == member.fingerprint, comment)
                }
                #expect(onDisk(type) == member.pem.data, comment)
            }
            #expect(try haproxy.ask("show ssl cert").contains("# transaction") == false, comment)
        }
    }

    private func restoration(
        _ bundle: StagedBundle, _ prepared: PreparedDeployment, resuming: Bool = false
    ) -> BundleRestoration {
        BundleRestoration(
            certificate: bundle.certificate, receipt: prepared.receipt, previous: prepared.previous,
            resuming: resuming)
    }

    @Test(arguments: ["runtime", "master"])
    func replacesBothAndBringsBothBack(method: String) async throws {
        let pair = try await Pair()
        let target = try pair.target(
            method == "master" ? .master(socket: pair.haproxy.masterSocket) : .runtime(socket: pair.haproxy.socket))
        let new = try pair.bundle(2)
        let prepared = try await target.prepare(new, fallback: pair.first, now: Date())
        let roles = prepared.receipt.files.map(\.role)
        #expect(Self.types.allSatisfy { roles.contains(.bundle(slot: $0)) })
        // Each type with each version, and a client that takes any.
        let own = prepared.receipt.baseline.filter { $0.question.subject == .own }.map(\.question.client)
        #expect(Set(own).count == 5)
        for resuming in [false, true] {
            try await target.apply(new, receipt: prepared.receipt, resuming: resuming)
            _ = try await target.verify(new, receipt: prepared.receipt)
            try await pair.expect(new)
        }
        for resuming in [false, true] {
            #expect(await target.restore([restoration(new, prepared, resuming: resuming)]) == [nil])
            _ = try await target.verifyRestored(prepared.receipt)
            try await pair.expect(pair.first)
        }
    }

    @Test func refusesAKeyThatDoesNotFitIntoItsSlot() async throws {
        let pair = try await Pair()
        let swapped = try Pair.bundle(2, pair.site, swapped: true)
        for reload in [nil, ReloadMethod.master(socket: pair.haproxy.masterSocket)] {
            let target = try pair.target(reload)
            let failure = await error { _ = try await target.prepare(swapped, fallback: nil, now: Date()) }
            #expect(failure?.code == .targetRefused)
            #expect(
                failure?.message.contains("ecdsa member has a key of the type rsa") == true,
                "\(String(describing: failure))")
        }
        try await pair.expect(pair.first)
    }

    /// HAProxy takes the first and refuses the second, or the process dies between the two.
    @Test(arguments: [true, false])
    func bringsTheFirstBackWhereTheSecondIsNotTaken(dies: Bool) async throws {
        let pair = try await Pair()
        let real = pair.haproxy.socket
        let second = "commit ssl cert \(Pair.path(pair.site, .rsa))"
        let between = try FakeHAProxy(at: pair.site.directory.path("between.sock"), certificates: []) {
            _, command in
            guard command == second else { return .forward(to: real) }
            return dies
                ? .hangUp : .reply("inconsistencies between private key and certificate loaded.\nCan't commit!\n\n")
        }
        let target = try pair.target(.runtime(socket: between.path))
        let new = try pair.bundle(2)
        let prepared = try await target.prepare(new, fallback: pair.first, now: Date())
        let failure = await error { try await target.apply(new, receipt: prepared.receipt, resuming: false) }
        #expect(failure?.code == (dies ? .targetUnexpectedReply : .targetRefused), "\(String(describing: failure))")
        #expect(try await pair.served(.ecdsa) == new.members[0].fingerprint, "the first was taken")
        #expect(try await pair.served(.rsa) == pair.first.members[1].fingerprint)
        // The disk waits for both.
        for member in pair.first.members { #expect(pair.onDisk(try #require(member.slot)) == member.pem.data) }
        let direct = try pair.target()
        if dies {
            try await direct.apply(new, receipt: prepared.receipt, resuming: true)
            try await pair.expect(new)
        }
        #expect(await direct.restore([restoration(new, prepared, resuming: dies)]) == [nil])
        _ = try await direct.verifyRestored(prepared.receipt)
        try await pair.expect(pair.first)
    }

    private static func listOfOther(_ site: Site) throws -> String {
        let other = try site.directory.write(
            try site.bundle("other", names: ["other.test"]).pem.data, to: "old/other.pem")
        return "crt-list \(try site.directory.write("\(other)\n", to: "site.list"))"
    }

    @Test func addsBothToAListOrNeither() async throws {
        let pair = try await Pair(false, bind: Self.listOfOther)
        let list = pair.site.directory.path("site.list")
        let before = try String(contentsOfFile: list, encoding: .utf8)
        let real = pair.haproxy.socket
        let second = Pair.path(pair.site, .rsa)
        let between = try FakeHAProxy(at: pair.site.directory.path("between.sock"), certificates: []) {
            _, command in
            command == "add ssl crt-list \(list) \(second)"
                ? .reply("Can't edit the crt-list: certificate '\(second)' is empty!\n\n") : .forward(to: real)
        }
        let new = try pair.bundle(2)
        let hindered = try pair.target(.runtime(socket: between.path), list: list)
        let refused = try await hindered.prepare(new, fallback: nil, now: Date())
        #expect(
            await code { try await hindered.apply(new, receipt: refused.receipt, resuming: false) } == .targetRefused)
        #expect(await hindered.restore([restoration(new, refused)]) == [nil])
        _ = try await hindered.verifyRestored(refused.receipt)
        #expect(try pair.haproxy.ask("show ssl cert").contains("server.pem.") == false)
        #expect(try String(contentsOfFile: list, encoding: .utf8) == before)
        #expect(pair.onDisk(.ecdsa) == nil && pair.onDisk(.rsa) == nil)
    }

    @Test func startsWithBothFromTheListThatItHasWritten() async throws {
        let pair = try await Pair(false, bind: Self.listOfOther)
        let list = pair.site.directory.path("site.list")
        let target = try pair.target(list: list)
        let new = try pair.bundle(2)
        let prepared = try await target.prepare(new, fallback: nil, now: Date())
        try await target.apply(new, receipt: prepared.receipt, resuming: false)
        _ = try await target.verify(new, receipt: prepared.receipt)
        try await pair.expect(new)
        kill(pair.haproxy.pid, SIGUSR2)
        let old = pair.haproxy.workers
        #expect(try await ReloadSite.eventually { Set(pair.haproxy.workers) != Set(old) })
        _ = try await target.verify(new, receipt: prepared.receipt)
        try await pair.expect(new)
    }

    @Test func saysWhatToDoWhereHAProxyHasOneFileForAll() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let target = try site.target(.runtime(socket: haproxy.socket), port: haproxy.port)
        let new = try Pair.bundle(2, site)
        let failure = await error { _ = try await target.prepare(new, fallback: nil, now: Date()) }
        #expect(failure?.code == .targetNotReferenced)
        #expect(failure?.hint?.contains("one file for every client") == true, "\(String(describing: failure))")
        // And where it has one for each, a certificate with one key says so as well.
        let pair = try await Pair()
        let one = try pair.site.bundle(2)
        let other = await error { _ = try await pair.target().prepare(one, fallback: nil, now: Date()) }
        #expect(other?.hint?.contains("one file per key type") == true, "\(String(describing: other))")
    }
}
