import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

@testable import CertsHAProxy

/// The length of HAProxy's answer about one certificate, compared with the real one.
@Suite struct ShownTextTests {
    /// Names of `length` bytes each.
    private static func names(_ count: Int, length: Int) -> [String] {
        ["z.example.net"]
            + (1..<count).map { number in
                let end = ".n\(1000 + number).example.net"
                return String(repeating: "x", count: max(1, length - end.utf8.count)) + end
            }
    }

    @Test(arguments: [(1, 20), (400, 20), (160, 80), (500, 22)])
    func `is never told too short`(count: Int, length: Int) async throws {
        let site = try Site()
        let bundle = try site.bundle(2, names: Self.names(count, length: length))
        try bundle.pem.data.write(to: URL(filePath: site.path))
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let chain = try CanonicalBundle.certificates(in: bundle.pem).map(\.record)
        let size = ShownText.size(chain)
        try #require(size <= ShownText.limit, "HAProxy may die of it: \(size)")
        let reply = try haproxy.ask("show ssl cert \(site.path)")
        #expect(!RuntimeReply.isCutShort(reply))
        #expect((reply.utf8.count...(reply.utf8.count + 1024)).contains(size), "\(reply.utf8.count)")
        #expect(ShownText.fits(bundle.pem))
    }

    @Test func `a longer one does not fit`() throws {
        let bundle = try Site().bundle(2, names: Self.names(600, length: 22))
        #expect(!ShownText.fits(bundle.pem))
    }

    @Test(arguments: [
        "Subject Alternative Name: DNS:a.test, DNS:b.test, DNS:cc",
        "Subject Alternative Name: DNS:a.test, DNS:b.test, , ",
        "Subject Alternative Name: DNS:a.test, DNS:b.test, DNS:c\nAlgorithm: EC256\nSHA1 FingerPrint: 8B9A124F46",
    ])
    func `an answer that was cut short is told apart, and read as far as it goes`(end: String) throws {
        let filler = String(repeating: "DNS:filler.test, ", count: 900)
        let text = end.replacingOccurrences(of: "Name: ", with: "Name: " + filler)
        let reply = "Filename: /a.pem\nStatus: Used\nSerial: 0A1B\nnotAfter: Dec  5 01:08:04 2026 GMT\n\(text)\n\n"
        #expect(RuntimeReply.isCutShort(reply))
        let glimpse = try #require(RuntimeReply.glimpse(reply))
        #expect(glimpse.stored.serial == "a1b")
        #expect(glimpse.stored.sha1.isEmpty)
        #expect(Set(glimpse.dnsNames) == ["filler.test", "a.test", "b.test"])
        #expect(throws: CertsError.self) {
            try RuntimeReply.storedCertificate(reply, name: StoreName("/a.pem"), pending: false)
        }
        let whole = reply.replacingOccurrences(
            of: end.contains("SHA1") ? "8B9A124F46" : "\n\n",
            with: end.contains("SHA1")
                ? String(repeating: "8B", count: 20) : "\nSHA1 FingerPrint: \(String(repeating: "8B", count: 20))\n\n")
        #expect(!RuntimeReply.isCutShort(whole))
        #expect(!RuntimeReply.isCutShort("Filename: /a.pem\nStatus: Empty\n\n"))
    }
}
