import CertsCore
import CertsCrypto
import CertsHTTP
import CertsTesting
import Foundation
import Testing

/// That the CA which the other tests rely on is the real one, and does what it was started with.
@Suite struct PebbleTests {
    @Test func `it has a directory, nonces, alternate roots and names that it resolves`() async throws {
        let directory = try TemporaryDirectory()
        let pebble = try await Pebble.start(
            in: directory,
            .init(externalAccounts: ["kid-1": "aGVsbG8"], requiresExternalAccount: true, alternateRoots: 2))
        defer { pebble.stop() }
        let client = HTTPClient(caFile: pebble.caFile)
        let answer = try await client.send(HTTPRequest(.get, pebble.directoryURL))
        let resources = try #require(try JSONSerialization.jsonObject(with: answer.body) as? [String: Any])
        let meta = try #require(resources["meta"] as? [String: Any])
        #expect(meta["externalAccountRequired"] as? Bool == true)
        let nonce = try await client.send(HTTPRequest(.head, try #require(resources["newNonce"] as? String)))
        #expect(nonce.headers["Replay-Nonce"]?.isEmpty == false)

        var roots: Set<Data> = []
        for index in 0...2 {
            roots.insert(try CertificateReader.certificates(in: try await pebble.root(index))[0].der)
        }
        #expect(roots.count == 3)
        await #expect(throws: Tool.Failure.self) { try await pebble.root(3) }
        let file = try await pebble.anchorsFile(alternateRoots: 2)
        let inFile = try CertificateReader.certificates(in: Data(contentsOf: URL(filePath: file)))
        #expect(Set(inFile.map(\.der)) == roots)
        try await pebble.dns.setTXT("_acme-challenge.www.example.com", "one")
        try await pebble.dns.setTXT("_acme-challenge.www.example.com", "two")
        try await pebble.dns.clearTXT("_acme-challenge.www.example.com")
        try await pebble.dns.addCAA("example.com", [("issue", "ca.example.net")])
        #expect(try await pebble.dns.questions(for: "nobody.example.com") == 0)
    }

    @Test func `it ends when it is told to`() async throws {
        let directory = try TemporaryDirectory()
        let pebble = try await Pebble.start(in: directory)
        pebble.stop()
        let error = await #expect(throws: CertsError.self) {
            try await HTTPClient(caFile: pebble.caFile).send(HTTPRequest(.get, pebble.directoryURL))
        }
        #expect(error?.code == .http)
    }
}
