import CertsCore
import Testing

@testable import CertsHAProxy

@Suite struct DuplicateNamesTests {
    private func clashes(_ claimants: DuplicateNames.Claimant...) -> [String] {
        DuplicateNames.clashes(among: claimants).map { "\($0.name): \($0.stores.joined(separator: " "))" }
    }

    @Test func findsANameOfTwoCertificates() {
        #expect(
            clashes(
                .init(store: "/b", names: ["www.Example.com", "b.test"]),
                .init(store: "/a", names: ["WWW.example.com"]),
                .init(store: "/c", names: ["c.test"]))
                == ["www.example.com: /b /a"])
    }

    @Test func takesAWildcardForANameOfItsOwn() {
        #expect(clashes(.init(store: "/a", names: ["*.a.test"]), .init(store: "/b", names: ["www.a.test"])) == [])
        #expect(
            clashes(.init(store: "/a", names: ["*.a.test"]), .init(store: "/b", names: ["*.A.test"])) == [
                "*.a.test: /a /b"
            ])
    }

    @Test func asksTheFiltersWhereThereAreAny() {
        #expect(
            clashes(.init(store: "/a", names: ["x.test"], filters: ["y.test"]), .init(store: "/b", names: ["x.test"]))
                == [])
        #expect(
            clashes(.init(store: "/a", names: ["x.test"], filters: ["Y.test"]), .init(store: "/b", names: ["y.test"]))
                == [
                    "y.test: /a /b"
                ])
        #expect(
            clashes(.init(store: "/a", names: ["x.test"], filters: ["!x.test"]), .init(store: "/b", names: ["x.test"]))
                == [])
    }

    @Test func letsOneCertificateStandInTwoLines() {
        #expect(clashes(.init(store: "/a", names: ["x.test", "x.test"]), .init(store: "/a", names: ["x.test"])) == [])
    }

    @Test func letsEachKindOfKeyHaveItsCertificate() {
        #expect(
            clashes(
                .init(store: "/a.rsa", names: ["x.test"], algorithm: "RSA2048"),
                .init(store: "/a.ecdsa", names: ["x.test"], algorithm: "EC256")) == [])
        #expect(
            clashes(
                .init(store: "/a", names: ["x.test"], algorithm: "EC384"),
                .init(store: "/b", names: ["x.test"], algorithm: "EC256")) == ["x.test: /a /b"])
    }

    // MARK: Directories

    @Test(arguments: [
        ("server.pem", true), ("server.pem.bak", true), ("README", true), ("server.pem~", true), ("x.crt", true),
        (".server.pem.tmp", false), ("server.pem.key", false), ("server.key", false), ("server.pem.issuer", false),
        ("server.pem.ocsp", false), ("server.pem.sctl", false), ("", false),
    ])
    func knowsWhatHAProxyLoadsFromADirectory(file: String, isLoaded: Bool) {
        #expect(DirectoryCensus.isLoaded(file) == isLoaded)
    }

    @Test func reportsEachForeignFileCopiesFirst() {
        let findings = DirectoryCensus.findings(
            directory: "/d", files: ["README", "a.pem", "a.pem.ocsp", ".a.pem.tmp", "a.pem.bak"],
            expected: ["a.pem", "b.pem"])
        #expect(findings.map(\.id) == ["foreign-file", "foreign-file"])
        #expect(findings[0].message.contains("/d/a.pem.bak") && findings[0].message.contains("copy"))
        #expect(findings[1].message.contains("/d/README"))
        #expect(!findings.contains { $0.isBlocking })
        #expect(DirectoryCensus.findings(directory: "/d", files: ["a.pem"], expected: ["a.pem"]).isEmpty)
    }

    @Test func countsWhatItDoesNotList() {
        let files = (0..<50).map { "f\($0)" }
        let findings = DirectoryCensus.findings(directory: "/d", files: files, expected: [], limit: 5)
        #expect(findings.count == 6)
        #expect(findings.last?.message.contains("45 more") == true)
    }
}
