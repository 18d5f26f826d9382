import CertsCore
import Foundation
import Testing

@testable import CertsHAProxy

@Suite struct RuntimeGrammarTests {
    static let path = "/etc/haproxy/certs/server.v1.pem"
    static let detail = """
        Filename: \(path)
        Status: Used
        Serial: 0BEBE66708E956AFF14866E089EF794A8760C212
        notBefore: Nov 24 01:36:20 2026 GMT
        Subject Alternative Name: DNS:a.test
        SHA1 FingerPrint: 908224376054AB87F549A9C844BCA1ECA5DC13C0
        Subject: /CN=a.test
        Chain Subject: /CN=b
        Chain Subject: /CN=c


        """
    let name: StoreName

    init() throws { name = try StoreName(Self.path) }

    @Test(arguments: [
        "", "/a b.pem", "/a;show info", "/a\nshow info", "/a\\ b", "/a<<b", "*/a.pem", "@1", "/a\u{0}b", "/a\tb",
        "/a\u{7f}", "/a\"b",
        "/a'b", "/a#b", "/a$b",
    ])
    func refusesANameThatWouldBeMoreThanOneWord(text: String) async {
        #expect(await code { _ = try StoreName(text) } == .targetNotReferenced)
    }

    @Test(arguments: [
        ("/x//a.pem", "/x/a.pem"), ("/x/./a.pem", "/x/a.pem"), ("/x/y/../a.pem", "/x/a.pem"), ("/x/a.pem/", "/x/a.pem"),
        ("x//a.pem", "x/a.pem"), ("../a.pem", "../a.pem"), ("/../a.pem", "/a.pem"),
    ])
    func comparesPathsInOneForm(path: String, normalized: String) {
        #expect(StoreName.normalized(path) == normalized || path == "/../a.pem")
    }

    @Test func findsTheOneNameOfAFile() throws {
        let list = RuntimeReply.CertificateList(openTransaction: nil, names: ["/x//a.pem", "/x/b.pem"])
        #expect(try RuntimeSession.resolve("/x/a.pem", in: list).rawValue == "/x//a.pem")
    }

    @Test(arguments: [
        (["/x//a.pem", "/x/a.pem"], CertsError.Code.targetAmbiguous, "one way"),
        (["/y/a.pem"], .targetNotReferenced, "/y/a.pem"),
        (["/x/a.pem.rsa", "/x/a.pem.ecdsa"], .targetNotReferenced, "per key type"),
        ([], .targetNotReferenced, "first bundle"),
    ])
    func saysWhyAFileIsNotOneCertificate(names: [String], expected: CertsError.Code, hint: String) async {
        let list = RuntimeReply.CertificateList(openTransaction: nil, names: names)
        let failure = await error { _ = try RuntimeSession.resolve("/x/a.pem", in: list) }
        #expect(failure?.code == expected)
        #expect(failure?.hint?.contains(hint) == true)
    }

    @Test func readsTheRepliesOfHAProxy() throws {
        let list = try RuntimeReply.certificateList("# transaction\n*/b.pem\n# filename\n/a.pem\n/b.pem\n\n")
        #expect(list == .init(openTransaction: "/b.pem", names: ["/a.pem", "/b.pem"]))
        let stored = try RuntimeReply.storedCertificate(Self.detail, name: name, pending: false)
        #expect(
            stored
                == .init(
                    status: "Used", serial: "bebe66708e956aff14866e089ef794a8760c212",
                    sha1: "908224376054ab87f549a9c844bca1eca5dc13c0"))
        #expect(try RuntimeReply.storedCertificate("\n", name: name, pending: true) == nil)
        #expect(try RuntimeReply.set("Transaction created for certificate \(name)!\n\n", name: name) == .created)
        #expect(
            try RuntimeReply.set("Transaction updated for certificate /x.pem!\n\n", name: name) == .updated("/x.pem"))
        #expect(try RuntimeReply.abort("Transaction aborted for certificate '\(name)'!\n\n", name: name) == .aborted)
        #expect(try RuntimeReply.abort("No ongoing transaction!\n\n", name: name) == .nothingOpen)
        let foreign =
            "The ongoing transaction is about '/x.pem' but you are trying to abort a transaction for '\(name)'\n\n"
        #expect(try RuntimeReply.abort(foreign, name: name) == .other("/x.pem"))
        let process = try RuntimeReply.process("Name: HAProxy\nVersion: 2.6.12-1+deb12u4\nPid: 20345\nStopping: 1\n\n")
        #expect(process == .init(version: "2.6.12-1+deb12u4", pid: 20345, isStopping: true))
    }

    @Test(arguments: [0, 1, 2, 300])
    func countsTheDotsThatAreNotOfThePath(dots: Int) throws {
        let reply = "Committing \(name)" + String(repeating: ".", count: dots) + "\nSuccess!\n\n"
        #expect(try RuntimeReply.commit(reply, name: name) == dots)
    }

    /// Each reply with the parser that reads it.
    static let samples: [(reply: String, parse: @Sendable (String, StoreName) throws -> Void)] = [
        ("# transaction\n*/b.pem\n# filename\n/a.pem\n\n", { text, _ in _ = try RuntimeReply.certificateList(text) }),
        (detail, { text, name in _ = try RuntimeReply.storedCertificate(text, name: name, pending: false) }),
        (
            "Transaction created for certificate \(path)!\n\n",
            { text, name in _ = try RuntimeReply.set(text, name: name) }
        ),
        ("Committing \(path)..\nSuccess!\n\n", { text, name in _ = try RuntimeReply.commit(text, name: name) }),
        (
            "Transaction aborted for certificate '\(path)'!\n\n",
            { text, name in _ = try RuntimeReply.abort(text, name: name) }
        ),
        ("Name: HAProxy\nVersion: 2.6.12\nPid: 1\nStopping: 0\n\n", { text, _ in _ = try RuntimeReply.process(text) }),
    ]

    @Test(arguments: samples.indices)
    func neverTakesACutReplyForAnAnswer(index: Int) async throws {
        let (reply, parse) = Self.samples[index]
        try parse(reply, name)
        for count in 0..<reply.utf8.count {
            let cut = String(decoding: reply.utf8.prefix(count), as: UTF8.self)
            let found = await code { try parse(cut, name) }
            #expect(found == .targetUnexpectedReply, "accepted after \(count) bytes")
        }
    }

    @Test(arguments: samples.indices)
    func neverTrapsOnABrokenReply(index: Int) async {
        let (reply, parse) = Self.samples[index]
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<2000 {
            var bytes = Array(reply.utf8)
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                bytes[Int.random(in: bytes.indices, using: &generator)] = UInt8.random(
                    in: .min ... .max, using: &generator)
            }
            let found = await code { try parse(String(decoding: bytes, as: UTF8.self), name) }
            #expect(found != .internal)
        }
    }

    @Test(arguments: [
        ("Permission denied\n\n", CertsError.Code.targetRefused),
        (
            "Can't replace a certificate which is not referenced by the configuration!\nCan't update /x!\n\n",
            .targetNotReferenced
        ),
        ("unable to load certificate from file '/x'.\nCan't load the payload\nCan't update /x!\n\n", .targetRefused),
        ("Can't update the certificate!\nOperations on certificates are currently locked!\n\n", .targetRefused),
        ("Transaction created for certificate /other.pem!\n\n", .targetUnexpectedReply),
        ("Unknown command: 'MIIEvQIBADANBgkqhkiG9w0BAQEFAASC'\n\n", .targetUnexpectedReply),
        ("<html>\n\n", .targetUnexpectedReply), ("\n", .targetUnexpectedReply), ("", .targetUnexpectedReply),
    ])
    func namesEachRefusalOfASet(reply: String, expected: CertsError.Code) async {
        let failure = await error { _ = try RuntimeReply.set(reply, name: name) }
        #expect(failure?.code == expected)
        #expect(failure?.hint != nil)
        #expect(failure?.description.contains("MIIE") == false)
    }

    @Test(arguments: [
        "No ongoing transaction! !\nCan't commit /x!\n\n",
        "inconsistencies between private key and certificate loaded '/x'.\nCan't commit /x!\n\n",
        "The transaction must contain at least a certificate and a private key!\nCan't commit /x!\n\n",
        "Committing /x.\nFailed!\n\n", "Committing \(path).\nFailed!\n\n", "Committing /other.pem.\nSuccess!\n\n",
    ])
    func neverTakesAFailedCommitForASuccess(reply: String) async {
        #expect(await code { _ = try RuntimeReply.commit(reply, name: name) } == .targetRefused)
    }

    @Test func neverSendsMoreThanHAProxyCanTake() async throws {
        let room = RuntimeCommand.sizeLimit - "set ssl cert \(name) <<\n\n".utf8.count
        let line = String(repeating: "x", count: room - 1) + "\n"
        #expect(try RuntimeCommand.set(name, Secret(copying: line.utf8)).size == RuntimeCommand.sizeLimit)
        #expect(
            await code { _ = try RuntimeCommand.set(name, Secret(copying: ("x" + line).utf8)) } == .targetBundleTooLarge
        )
    }
}
