import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

@testable import CertsHAProxy

/// A certificate comes into the real HAProxy and goes again, without a reload.
@Suite(.serialized) struct CrtListSessionTests {
    @Test(arguments: [false, true])
    func servesANewCertificateAtOnceAndNoLongerAfterItsRemoval(inDirectory: Bool) async throws {
        let growing = try await inDirectory ? GrowingSite.directory() : GrowingSite.crtList()
        let before = try RuntimeReply.process(try growing.haproxy.ask("show info"))
        #expect(try await growing.served == growing.site.first.fingerprint)
        try await growing.deploy()
        #expect(try await growing.served == growing.new.fingerprint)
        #expect(try await Site.served(growing.haproxy.port) == growing.site.first.fingerprint)
        let details = try #require(try await growing.lists.session.details(growing.name))
        #expect(details.stored.status == "Used")
        #expect(details.dnsNames == [GrowingSite.newHost])
        let notAfter = try #require(details.notAfter)
        #expect(abs(notAfter.timeIntervalSince(growing.new.leaf.notAfter)) < 1)
        #expect(try await growing.entries().count == 1)

        try await growing.withdraw()
        #expect(try await growing.served == growing.site.first.fingerprint)
        #expect(try await growing.lists.session.details(growing.name) == nil)
        #expect(try await growing.entries().isEmpty)
        #expect(try RuntimeReply.process(try growing.haproxy.ask("show info")).pid == before.pid)
    }

    @Test(arguments: [false, true])
    func makesNoSecondEntryAndNothingOfARemovalTwice(inDirectory: Bool) async throws {
        let growing = try await inDirectory ? GrowingSite.directory() : GrowingSite.crtList()
        for _ in 0..<3 { try await growing.deploy() }
        #expect(try await growing.entries().count == 1)
        for _ in 0..<3 { try await growing.withdraw() }
        #expect(try await growing.entries().isEmpty)
    }

    @Test func showsThatHAProxyItselfMakesTwoEntries() async throws {
        let growing = try await GrowingSite.crtList()
        try await growing.deploy()
        #expect(try growing.haproxy.ask("add ssl crt-list \(growing.list) \(growing.name)").contains("Success!"))
        #expect(try await growing.entries().count == 2)
        #expect(try growing.haproxy.ask("del ssl crt-list \(growing.list) \(growing.name)").contains("several entries"))
        try await growing.withdraw()
        #expect(try await growing.entries().isEmpty)
    }

    @Test func keepsOptionsAndFilters() async throws {
        let growing = try await GrowingSite.crtList()
        let terms = try CrtListTerms(
            options: "[alpn h2 ssl-min-ver TLSv1.2]",
            filters: ["only.example.com", "*.sub.example.com", "!x.sub.example.com"])
        try await growing.deploy(terms)
        try await growing.deploy(terms)
        let entry = try #require(try await growing.entries().first)
        #expect(entry.filters == terms.filters)
        #expect(entry.text.hasPrefix("[alpn h2 ssl-min-ver TLSv1.2]"))
        // Where there are filters, the names of the certificate itself are not served.
        let first = growing.site.first.fingerprint
        let expected = [
            "only.example.com": growing.new.fingerprint, "a.sub.example.com": growing.new.fingerprint,
            GrowingSite.newHost: first, "x.sub.example.com": first,
        ]
        for (host, fingerprint) in expected {
            #expect(try await Site.served(growing.haproxy.port, serverName: host) == fingerprint, "\(host)")
        }
        let protocols = try Tool.run(
            "openssl", "s_client", "-connect", "127.0.0.1:\(growing.haproxy.port)", "-servername", "only.example.com",
            "-alpn", "h2")
        #expect(protocols.output.contains("ALPN protocol: h2"))
        let failure = await error { try await growing.deploy() }
        #expect(failure?.code == .targetRefused)
        #expect(failure?.message.contains("other options or filters") == true)
    }

    @Test func saysWhatHAProxySaysAboutAnOption() async throws {
        let growing = try await GrowingSite.crtList()
        let failure = await error { try await growing.deploy(try CrtListTerms(options: "bogus x")) }
        #expect(failure?.code == .targetRefused)
        #expect(failure?.message.contains("unknown ssl keyword bogus") == true)
        #expect(try await growing.entries().isEmpty)
    }

    @Test func refusesTermsInADirectory() async throws {
        let growing = try await GrowingSite.directory()
        let terms = try CrtListTerms(filters: ["a.test"])
        #expect(await code { try await growing.deploy(terms) } == .configurationInvalid)
    }

    @Test func refusesABundleOutsideOfTheDirectory() async throws {
        let growing = try await GrowingSite.directory()
        let outside = try CrtListSession.storeName(for: growing.site.directory.path("else.pem"), in: growing.list)
        try await growing.lists.createStore(outside, bundle: growing.new.pem, leaf: growing.new.leaf)
        let failure = await error { try await growing.lists.addEntry(outside, to: growing.list) }
        #expect(failure?.code == .targetRefused)
        #expect(failure?.hint?.contains("\(growing.list)/FILE.pem") == true)
    }

    @Test func saysThatABindWithoutAListCannotGrow() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let lists = GrowingSite.lists(at: haproxy.socket)
        #expect(try await lists.listNames().isEmpty)
        for path in [site.path, site.directory.path("certs")] {
            let failure = await error { _ = try await lists.list(at: path) }
            #expect(failure?.code == .targetNotReferenced)
            #expect(failure?.hint?.contains("cannot grow") == true)
        }
        let (name, none) = (try StoreName(site.directory.path("new.pem")), try StoreName(site.directory.path("none")))
        let new = try site.bundle(2)
        try await lists.createStore(name, bundle: new.pem, leaf: new.leaf)
        #expect(await code { try await lists.addEntry(name, to: none) } == .targetNotReferenced)
        #expect(await code { try await lists.removeEntry(name, from: none) } == .targetNotReferenced)
    }

    @Test func findsAListInEverySpelling() async throws {
        let growing = try await GrowingSite.directory()
        let certs = growing.site.directory.path("certs")
        for path in [certs, certs + "/", growing.site.directory.path("./certs//")] {
            #expect(try await growing.lists.list(at: path) == growing.list)
        }
    }

    @Test func findsTheEntryThatCrtBaseSpellsOtherwise() async throws {
        let site = try Site()
        let path = try site.directory.write("server.pem\n", to: "site.list")
        let haproxy = try await RealHAProxy.start(
            in: site.directory, bind: "crt-list \(path)", global: "crt-base \(site.directory.path("certs"))/")
        let lists = GrowingSite.lists(at: haproxy.socket)
        let list = try await lists.list(at: path)
        let name = try CrtListSession.storeName(for: site.path, in: list)
        #expect(try await lists.entries(of: list).map(\.name) == [site.directory.path("certs//server.pem")])
        #expect(CrtListFile(Data("server.pem\n".utf8), base: site.directory.path("certs/")).contains(site.path))
        let failure = await error { try await lists.addEntry(name, to: list) }
        #expect(failure?.code == .targetAmbiguous)
        #expect(failure?.hint?.contains("certs//server.pem") == true)
    }

    @Test func refusesACertificateThatIsServedAlready() async throws {
        let growing = try await GrowingSite.crtList()
        let name = try StoreName(growing.site.path)
        let other = try growing.site.bundle(5)
        let failure = await error { try await growing.lists.createStore(name, bundle: other.pem, leaf: other.leaf) }
        #expect(failure?.code == .targetRefused)
        #expect(try await Site.served(growing.haproxy.port) == growing.site.first.fingerprint)
        #expect(try await growing.transaction() == nil)
        #expect(await code { try await growing.lists.removeStore(name) } == .targetRefused)
        let removal = await error { try await growing.lists.removeEntry(name, from: growing.list) }
        #expect(removal?.code == .targetRefused)
        #expect(removal?.hint?.contains("put another certificate first") == true)
    }

    @Test func refusesANameThatEndsInCrt() async throws {
        let growing = try await GrowingSite.crtList()
        let name = try StoreName(growing.site.directory.path("certs/new.crt"))
        let failure = await error {
            try await growing.lists.createStore(name, bundle: growing.new.pem, leaf: growing.new.leaf)
        }
        #expect(failure?.code == .targetNotReferenced)
        // What it would be without this guard: made, but never to be filled.
        #expect(try growing.haproxy.ask("new ssl cert \(name)").contains("New empty certificate store"))
        #expect(
            try growing.haproxy.ask("set ssl cert \(name) <<", payload: growing.new.pem.data)
                .contains("not referenced by the configuration"))
    }

    @Test func leavesAForeignTransactionAlone() async throws {
        let growing = try await GrowingSite.crtList()
        let foreign = try growing.site.bundle(9)
        try growing.haproxy.ask("set ssl cert \(growing.site.path) <<", payload: foreign.pem.data)
        let failure = await error { try await growing.deploy() }
        #expect(failure?.code == .targetForeignTransaction)
        #expect(try await growing.lists.session.details(growing.name) == nil)
        #expect(try await growing.transaction() == growing.site.path)
        #expect(try growing.haproxy.ask("commit ssl cert \(growing.site.path)").contains("Success!"))
        #expect(try await Site.served(growing.haproxy.port) == foreign.fingerprint)
    }

    /// What memory and disk say is the same: HAProxy reads the file with our line as it holds the list now.
    @Test func writesTheLineThatHAProxyLoadsAtItsNextStart() async throws {
        let growing = try await GrowingSite.crtList()
        let terms = try CrtListTerms(options: "alpn h2", filters: ["only.example.com"])
        try await growing.deploy(terms)
        let file = CrtListFile(try Data(contentsOf: URL(filePath: growing.list.rawValue)))
        try await growing.site.files.install(growing.new.pem, at: growing.name.rawValue, attributes: nil)
        try file.adding(growing.name.rawValue, terms).contents.write(to: URL(filePath: growing.list.rawValue))
        let inMemory = try await growing.lists.entries(of: growing.list)
        let site = growing.site
        growing.haproxy.stop()
        let again = try await RealHAProxy.start(in: site.directory, bind: "crt-list \(growing.list)")
        #expect(try await GrowingSite.lists(at: again.socket).entries(of: growing.list) == inMemory)
        #expect(try await Site.served(again.port, serverName: "only.example.com") == growing.new.fingerprint)
    }

    @Test func findsTheNamesThatTwoCertificatesClaim() async throws {
        let growing = try await GrowingSite.crtList()
        try await growing.deploy()
        let candidate = DuplicateNames.Claimant(
            store: growing.site.path, names: [Site.host], algorithm: "EC256")
        func clashes() async throws -> [DuplicateNames.Clash] {
            try await growing.lists.clashes(of: candidate, known: KnownLists())
        }
        #expect(try await clashes().isEmpty)
        let copy = try CrtListSession.storeName(for: growing.site.directory.path("certs/copy.pem"), in: growing.list)
        let second = try growing.site.bundle(3)
        try await growing.lists.createStore(copy, bundle: second.pem, leaf: second.leaf)
        try await growing.lists.addEntry(copy, to: growing.list)
        #expect(try await clashes() == [.init(name: Site.host, stores: [copy.rawValue, growing.site.path])])
    }
}
