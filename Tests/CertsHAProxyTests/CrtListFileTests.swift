import CertsCore
import Foundation
import Testing

@testable import CertsHAProxy

/// The file is read as HAProxy 2.6.12 reads it; each odd line was tried there.
@Suite struct CrtListFileTests {
    private func file(_ text: String, base: String? = nil) -> CrtListFile { CrtListFile(Data(text.utf8), base: base) }
    private func text(_ file: CrtListFile) -> String { String(decoding: file.contents, as: UTF8.self) }

    static let odd =
        "# first\n/x/a.pem\n\n   \n\t/x/b.pem\t[alpn h2,http/1.1  ssl-min-ver TLSv1.2]  b.test *.b.test !c.b.test \r\n"
        + "#/x/hidden.pem\n/x//c.pem [ alpn h2 ] c.test\r\n\r\nd.pem\n/x/./a.pem later.test"

    @Test func readsWhatHAProxyReads() {
        let entries = file(Self.odd).entries
        #expect(
            entries == [
                .init(path: "/x/a.pem", options: nil, filters: [], line: 2),
                .init(
                    path: "/x/b.pem", options: ["alpn", "h2,http/1.1", "ssl-min-ver", "TLSv1.2"],
                    filters: ["b.test", "*.b.test", "!c.b.test"], line: 5),
                .init(path: "/x//c.pem", options: ["alpn", "h2"], filters: ["c.test"], line: 7),
                .init(path: "d.pem", options: nil, filters: [], line: 9),
                .init(path: "/x/./a.pem", options: nil, filters: ["later.test"], line: 10),
            ])
    }

    @Test(
        arguments: [
            // A comment begins a line, nowhere else; quotes and backslashes are letters; filters before a bracket are lost.
            ("/a n.test # c\n", nil, ["n.test", "#", "c"]), ("/a [alpn h2]b\n", ["alpn", "h2"], ["b"]),
            ("/a b [alpn h2]\n", ["alpn", "h2"], []), ("/a [alpn h2 x\n", [], ["alpn", "h2", "x"]),
            ("/a []\n", [], []), ("/a \"q\" r\\\n", nil, ["\"q\"", "r\\"]), ("/a\u{b}b\n", nil, ["b"]),
        ] as [(String, [String]?, [String])])
    func readsTheWordsOfALine(line: String, options: [String]?, filters: [String]) {
        #expect(file(line).entries == [.init(path: "/a", options: options, filters: filters, line: 1)])
    }

    @Test func findsAFileInEverySpelling() {
        let list = file(Self.odd, base: "/x/")
        #expect(list.entries(of: "/x/a.pem").map(\.line) == [2, 10])
        for path in ["/x/a.pem", "/x//a.pem", "/x/y/../a.pem", "/x/c.pem", "/x/d.pem"] { #expect(list.contains(path)) }
        for path in ["/x/hidden.pem", "/x/e.pem", "/d.pem", "x/a.pem"] { #expect(!list.contains(path)) }
        #expect(!file(Self.odd).contains("/x/d.pem"))
    }

    @Test func addsOneLineAndTouchesNothingElse() throws {
        let terms = try CrtListTerms(options: "alpn h2", filters: ["n.test"])
        let grown = try file(Self.odd).adding("/x/n.pem", terms)
        #expect(text(grown) == Self.odd + "\n/x/n.pem [alpn h2] n.test\n")
        #expect(grown.entries.last == .init(path: "/x/n.pem", options: ["alpn", "h2"], filters: ["n.test"], line: 11))
        #expect(try grown.adding("/x//n.pem", .none) == grown)
        #expect(try text(file("").adding("/x/n.pem", .none)) == "/x/n.pem\n")
        #expect(try text(file("/a\n").adding("/x/n.pem", .none)) == "/a\n/x/n.pem\n")
    }

    @Test(arguments: ["/x/a b.pem", "/x/a\n\n.pem", "/x/a[1].pem", "#a.pem", ""])
    func refusesAPathThatIsMoreThanAWord(path: String) async {
        #expect(await code { _ = try file("/a\n").adding(path, .none) } == .targetNotReferenced)
    }

    @Test func removesEveryLineOfAFileAndNothingElse() {
        let shorter = file(Self.odd).removing("/x/a.pem")
        let expected = Self.odd.replacing("/x/a.pem\n", with: "", maxReplacements: 1).replacing(
            "/x/./a.pem later.test", with: "")
        #expect(text(shorter) == expected)
        #expect(!shorter.contains("/x/a.pem"))
        #expect(shorter.removing("/x/a.pem") == shorter)
        #expect(file("/a").removing("/a").entries.isEmpty)
    }

    @Test func bringsBackTheSameBytes() throws {
        let before = file(Self.odd + "\n")
        #expect(try before.adding("/x/n.pem", .none).removing("/x/n.pem") == before)
    }

    @Test func keepsBytesThatAreNoText() throws {
        let bytes = Data([0x23, 0xff, 0x0a, 0x2f, 0xfe, 0x00, 0x20, 0xc3, 0x0a])
        let grown = try CrtListFile(bytes).adding("/n.pem", .none)
        #expect(grown.contents == bytes + Data("/n.pem\n".utf8))
        #expect(grown.removing("/n.pem").contents == bytes)
        // A slice that does not begin at 0, as a reader may hand it over.
        #expect(CrtListFile(grown.contents[3...]).contains("/n.pem"))
    }

    @Test func takesALongList() throws {
        let lines = (0..<10_000).map { "/certs/site-\($0).pem [alpn h2] site-\($0).test *.site-\($0).test\n" }
        let list = file(lines.joined())
        #expect(list.entries.count == 10_000)
        let grown = try list.adding("/certs/new.pem", .none)
        #expect(grown.entries.last?.line == 10_001)
        #expect(grown.removing("/certs/new.pem") == list)
        #expect(list.removing("/certs/site-5000.pem").entries.count == 9999)
    }
}
