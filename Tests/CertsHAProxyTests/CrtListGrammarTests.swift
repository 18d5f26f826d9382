import CertsCore
import Foundation
import Testing

@testable import CertsHAProxy

/// The commands and replies about lists, byte for byte as HAProxy 2.6.12 has them.
@Suite struct CrtListGrammarTests {
    static let path = "/etc/haproxy/certs/new.v1.pem"
    static let listPath = "/etc/haproxy/crt-list.txt"
    let name: StoreName
    let list: StoreName

    init() throws {
        name = try StoreName(Self.path)
        list = try StoreName(Self.listPath)
    }

    // MARK: Lists

    @Test func readsTheEntriesOfAList() throws {
        let reply = """
            # \(Self.listPath)
            /x/c.pem:2
            /x/b.pem:4 [alpn h2,http/1.1\0 ssl-min-ver TLSv1.2] b.test *.b.test !x.b.test
            /base//d.pem:5
            /x/odd:7.pem:6 e.test


            """
        let entries = try RuntimeReply.entries(reply, of: list)
        #expect(entries.map(\.name) == ["/x/c.pem", "/x/b.pem", "/base//d.pem", "/x/odd:7.pem"])
        #expect(entries.map(\.line) == [2, 4, 5, 6])
        #expect(entries.map(\.filters) == [[], ["b.test", "*.b.test", "!x.b.test"], [], ["e.test"]])
        #expect(entries[1].text == "[alpn h2,http/1.1 ssl-min-ver TLSv1.2] b.test *.b.test !x.b.test")
        #expect(try RuntimeReply.lists("/x/dir\n\(Self.listPath)\n\n") == ["/x/dir", Self.listPath])
        #expect(try RuntimeReply.lists("\n") == [])
        #expect(try RuntimeReply.entries("# \(Self.listPath)\n\n", of: list) == [])
    }

    @Test func saysThatAPlainBindCannotGrow() async {
        let failure = await error { _ = try RuntimeReply.entries("didn't find the specified filename\n\n", of: list) }
        #expect(failure?.code == .targetNotReferenced)
        #expect(failure?.hint?.contains("cannot grow") == true)
    }

    @Test func readsEverythingAboutACertificate() throws {
        let reply = """
            Filename: \(Self.path)
            Status: Used
            Serial: 8E
            notBefore: Nov 24 01:36:20 2026 GMT
            notAfter: Dec  5 01:08:04 2026 GMT
            Subject Alternative Name: DNS:a.test, , DNS:*.b.test, 
            Algorithm: EC256
            SHA1 FingerPrint: 908224376054AB87F549A9C844BCA1ECA5DC13C0
            Subject: /O=Example/CN=c.test
            Issuer: /CN=b
            Chain Subject: /CN=b
            Chain Issuer: /CN=r
            Chain Subject: /CN=r
            Chain Issuer: /CN=r
            OCSP Response Key: 303a300906052b0e03021a0500041471AD0202008e


            """
        let details = try #require(try RuntimeReply.storedDetails(reply, name: name, pending: false))
        #expect(details.stored.status == "Used")
        #expect(details.dnsNames == ["a.test", "*.b.test"])
        #expect(details.names == ["a.test", "*.b.test", "c.test"])
        #expect(details.notAfter == Date(timeIntervalSince1970: 1_796_432_884))
        #expect(details.algorithm == "EC256")
        #expect(details.chainSubjects == ["/CN=b", "/CN=r"])
        #expect(details.hasOwnResponse)
        var other = details
        other.ocspKey = "303a300906052b0e03021a0500041471ad02018e"
        #expect(!other.hasOwnResponse)
        other.ocspKey = nil
        #expect(!other.hasOwnResponse)
        let empty = "Filename: \(Self.path)\nStatus: Empty\nOCSP Response Key: \n\n"
        let bare = try #require(try RuntimeReply.storedDetails(empty, name: name, pending: false))
        #expect(bare == .init(stored: .init(status: "Empty", serial: "", sha1: "")))
    }

    @Test(arguments: [
        "", "Dec  5 01:08:04 2026", "Dec 0 01:08:04 2026 GMT", "Foo 5 01:08:04 2026 GMT", "Dec 5 24:08:04 2026 GMT",
        "Dec 5 01:08 2026 GMT", "Dec 5 01:08:04 99999999999 GMT", "Bad time value",
    ])
    func takesNothingElseForATime(text: String) {
        #expect(RuntimeReply.date(text) == nil)
    }

    // MARK: Changes

    @Test func readsTheRepliesToChanges() throws {
        #expect(try RuntimeReply.new("New empty certificate store '\(name)'!\n\n", name: name))
        #expect(try !RuntimeReply.new("Certificate '\(name)' already exists!\n\n", name: name))
        #expect(try RuntimeReply.delete("Certificate '\(name)' deleted!\n\n", name: name))
        let missing = "Can't remove the certificate: certificate '\(name)' doesn't exist!\n\n\n"
        #expect(try !RuntimeReply.delete(missing, name: name))
        let added = "Inserting certificate '\(name)' in crt-list '\(list)'..\nSuccess!\n\n"
        #expect(try RuntimeReply.add(added, name: name, to: list) == 2)
        let removed = "Entry '\(name)' deleted in crtlist '\(list)'!\n\n"
        #expect(try RuntimeReply.remove(removed, name: name, from: list))
        let gone = "Can't delete the entry: certificate '\(name)' can't be found in crt-list '\(list)'!\n\n"
        #expect(try !RuntimeReply.remove(gone, name: name, from: list))
        #expect(try RuntimeReply.staple("OCSP Response updated!\n\n") == .updated)
        let unknown = "OCSP single response: Certificate ID does not match any certificate or issuer.\n\n"
        #expect(try RuntimeReply.staple(unknown) == .noSuchCertificate)
    }

    /// Each refusal with the parser that reads it and a word of the hint.
    static let refusals:
        [(reply: String, hint: String, parse: @Sendable (String, StoreName, StoreName) throws -> Void)] = [
            (
                "Can't edit the crt-list: parsing [CLI:1]: unknown ssl keyword bogus\n\n", "options",
                { text, name, list in _ = try RuntimeReply.add(text, name: name, to: list) }
            ),
            (
                "Can't edit the crt-list: '/d' is a directory, certificate path 'n.pem' must contain the directory path\n\n",
                "FILE.pem", { text, name, list in _ = try RuntimeReply.add(text, name: name, to: list) }
            ),
            (
                "Inserting certificate '\(path)' in crt-list '\(listPath)'.\nFailed!\n\n", "inspect",
                { text, name, list in _ = try RuntimeReply.add(text, name: name, to: list) }
            ),
            (
                "Can't delete the entry: certificate '\(path)' cannot be deleted, it is used as default certificate by the following frontends:\n\t- h.cfg:10\n\n\n",
                "first", { text, name, list in _ = try RuntimeReply.remove(text, name: name, from: list) }
            ),
            (
                "Can't remove the certificate: certificate '\(path)' in use, can't be deleted!\n\n\n", "crt-list",
                { text, name, _ in _ = try RuntimeReply.delete(text, name: name) }
            ),
            ("Unable to parse OCSP response.\n\n", "responder", { text, _, _ in _ = try RuntimeReply.staple(text) }),
            (
                "'set ssl ocsp-response' received invalid base64 encoded response.\n\n", "responder",
                { text, _, _ in _ = try RuntimeReply.staple(text) }
            ),
        ]

    @Test(arguments: refusals.indices)
    func namesEachRefusal(index: Int) async {
        let (reply, hint, parse) = Self.refusals[index]
        let failure = await error { try parse(reply, name, list) }
        #expect(failure?.code == .targetRefused)
        #expect(failure?.hint?.contains(hint) == true)
    }

    @Test func namesTheTransactionThatKeepsACertificate() async {
        let reply = "Can't remove the certificate: ongoing transaction for the certificate '\(name)'\n\n"
        #expect(await code { _ = try RuntimeReply.delete(reply, name: name) } == .targetForeignTransaction)
    }

    @Test func neverTakesTheReplyAboutAnotherNameForAnAnswer() async throws {
        let other = try StoreName("/etc/haproxy/certs/new.v1.pe")
        let replies = [
            "New empty certificate store '\(name)'!\n\n", "Certificate '\(name)' deleted!\n\n",
            "Inserting certificate '\(name)' in crt-list '\(list)'.\nSuccess!\n\n",
            "Entry '\(name)' deleted in crtlist '\(list)'!\n\n", "<html>\n\n", "\n",
        ]
        for reply in replies {
            let parsers: [() throws -> Void] = [
                { _ = try RuntimeReply.new(reply, name: other) }, { _ = try RuntimeReply.delete(reply, name: other) },
                { _ = try RuntimeReply.add(reply, name: other, to: list) },
                { _ = try RuntimeReply.remove(reply, name: other, from: list) }, { _ = try RuntimeReply.staple(reply) },
            ]
            for parse in parsers { #expect(await code { try parse() } == .targetUnexpectedReply, "\(reply)") }
        }
    }

    // MARK: Commands

    @Test func buildsTheLineOfEachCommand() throws {
        let terms = try CrtListTerms(
            options: "[ alpn h2,http/1.1  ssl-min-ver TLSv1.2 ]", filters: ["A.test", "!*.b.test"])
        let line = try #require(try RuntimeCommand.add(name, terms, to: list).payload?.data)
        #expect(
            String(decoding: line, as: UTF8.self)
                == "\(Self.path) [alpn h2,http/1.1 ssl-min-ver TLSv1.2] a.test !*.b.test\n")
        #expect(try RuntimeCommand.add(name, .none, to: list).line == "add ssl crt-list \(list) \(name)")
        #expect(RuntimeCommand.remove(name, line: 7, from: list).line == "del ssl crt-list \(list) \(name):7")
        #expect(RuntimeCommand.remove(name, line: 0, from: list).line == "del ssl crt-list \(list) \(name)")
        #expect(
            try RuntimeCommand.set(name, .ocsp, RuntimeCommand.base64(Data([1]))).line == "set ssl cert \(name).ocsp <<"
        )
        #expect(try RuntimeCommand.updateOCSPResponse(Data([1, 2])).payload?.data == Data("AQI=\n".utf8))
    }

    @Test func putsNoRelativeNameIntoALine() async throws {
        // HAProxy would look for /crt-base//n.pem, although it has the certificate as n.pem.
        let relative = try StoreName("n.pem")
        let terms = try CrtListTerms(filters: ["a.test"])
        #expect(await code { _ = try RuntimeCommand.add(relative, terms, to: list) } == .targetNotReferenced)
    }

    @Test(arguments: ["", "\n", "a\n\nshow version\n", "a\r\n\r\n", "a"])
    func refusesAPayloadThatWouldEndEarly(text: String) async {
        for companion in RuntimeCommand.Companion.allCases {
            #expect(
                await code { _ = try RuntimeCommand.set(name, companion, Secret(copying: text.utf8)) } == .targetRefused
            )
        }
    }

    @Test func refusesALargeCompanion() async {
        #expect(await code { _ = try RuntimeCommand.updateOCSPResponse(Data(count: 12_000)) } == .targetBundleTooLarge)
        #expect(await code { _ = try RuntimeCommand.updateOCSPResponse(Data()) } == .targetRefused)
    }

    @Test(arguments: [
        "alpn h2\n\nshow version", "alpn h2\nfoo", "alpn h2\r", "alpn h2] x [", "alpn [h2", "alpn h2;show version",
        "alpn \"h2\"", "alpn h2 # x", "alpn h\u{0}", "alpn h\u{fc}", "alpn\th2", "alpn $h2", "alpn h2\\ ",
        String(repeating: "x", count: 5000),
    ])
    func refusesAnOptionThatIsMoreThanWords(options: String) async {
        let failure = await error { _ = try CrtListTerms(options: options) }
        #expect(failure?.code == .configurationInvalid)
        #expect(failure?.description.contains("\n") == false)
    }

    @Test(arguments: [
        "a.test\n\nshow version", "a.test b.test", "a.test\r", "", "*.", "a..test", ".a.test", "a.test.", "*.*.test",
        "a*.test", "!", "!!a.test", "[a]", "a;b", "a\\b", "\u{fc}.test", "a.test\u{0}", "-n\t",
        String(repeating: "a", count: 64) + ".test", Array(repeating: "abcdefgh", count: 29).joined(separator: "."),
    ])
    func refusesAFilterThatIsNoHostName(filter: String) async {
        #expect(await code { _ = try CrtListTerms(filters: ["ok.test", filter]) } == .configurationInvalid)
    }

    @Test(arguments: ["a.test", "*.a.test", "!a.test", "!*.a.test", "*", "!*", "_x.a-b.test", "localhost"])
    func takesEveryFormOfAFilter(filter: String) throws {
        #expect(try CrtListTerms(filters: [filter]).filters == [filter])
    }

    @Test(arguments: [
        ("/x/dir", "/x/dir/a.pem", "/x/dir/a.pem"), ("/x//dir", "/x/dir/a.pem", "/x//dir/a.pem"),
        ("/x/list.txt", "/x//dir/./a.pem", "/x/dir/a.pem"), ("/x/dir", "/x/dir/sub/a.pem", "/x/dir/sub/a.pem"),
    ])
    func namesANewCertificateAsItsListNeedsIt(list: String, path: String, expected: String) throws {
        #expect(try CrtListSession.storeName(for: path, in: try StoreName(list)).rawValue == expected)
    }

    @Test(arguments: [
        "a.pem", "/x/a.crt", "/x/a.key", "/x/a.pem.ocsp", "/x/.a.pem", "/x/a:1.pem", "/x/a[1].pem", "/x/a b.pem",
    ])
    func refusesANameThatHAProxyCouldNotReplace(path: String) async {
        #expect(
            await code { _ = try CrtListSession.storeName(for: path, in: try StoreName("/x/l")) }
                == .targetNotReferenced)
    }
}
