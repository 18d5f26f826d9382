import CertsCore
import Foundation
import Testing

@Suite struct NameTests {
    @Test(arguments: ["messenger", "a", "0", "a.b_c-d", String(repeating: "a", count: 63)])
    func acceptsNames(_ text: String) throws {
        #expect(try Name(text).rawValue == text)
    }

    @Test(arguments: [
        "", ".", "..", "a/b", "../etc", "-a", ".a", "A", "ä", "a b", "a\0", "a\n", String(repeating: "a", count: 64),
    ])
    func refusesWhatCouldBeAPathOrBreakALine(_ text: String) {
        #expect(throws: CertsError(.nameInvalid, "")) { try Name(text) }
    }

    @Test(arguments: [
        ("Example.COM", "example.com"), ("*.example.com", "*.example.com"), ("bücher.example", "xn--bcher-kva.example"),
        ("*.Bücher.example", "*.xn--bcher-kva.example"), ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("localhost", "localhost"),
    ])
    func bringsDNSNamesIntoTheirCanonicalForm(_ text: String, _ expected: String) throws {
        #expect(try DNSName.canonical(text) == expected)
    }

    @Test(arguments: [
        "", ".", "example.com.", "a..b", "*", "a.*.example.com", "w*.example.com", "*a.example.com", "-a.example",
        "a-.example",
        "a_b.example", "a b.example", "192.0.2.1", "ab--c.example", "\(String(repeating: "a", count: 64)).example",
        "a\0.example",
        "exa\u{200d}mple.com/", "ü/x.example", "\(String(repeating: "a.", count: 130))com",
    ])
    func refusesWhatIsNoDNSName(_ text: String) {
        #expect(throws: CertsError(.nameInvalid, "")) { try DNSName.canonical(text) }
    }

    @Test(arguments: [
        ("example.com", "example.com", true), ("*.example.com", "www.example.com", true),
        ("*.example.com", "example.com", false),
        ("*.example.com", "a.b.example.com", false), ("*.example.com", ".example.com", false),
        ("www.example.com", "example.com", false),
    ])
    func aWildcardCoversExactlyOneLabel(_ pattern: String, _ host: String, _ expected: Bool) {
        #expect(DNSName.covers(pattern, host: host) == expected)
    }

    @Test(arguments: ["192.0.2.1", "2001:db8::1", "::", "::ffff:192.0.2.1"])
    func readsAndPrintsIPAddresses(_ text: String) throws {
        let address = try #require(IPAddress(text))
        #expect(address.description == text)
        #expect(IPAddress(bytes: address.bytes) == address)
    }

    @Test(arguments: ["", "1.2.3", "1.2.3.4.5", "01.2.3.4", "fe80::1%eth0", "[::1]", "1.2.3.4\0"])
    func refusesWhatIsNoIPAddress(_ text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test(arguments: [
        ("127.0.0.1:443", "127.0.0.1", 443), ("[::1]:8443", "::1", 8443), ("lb.example.com:443", "lb.example.com", 443),
    ])
    func readsEndpoints(_ text: String, _ host: String, _ port: Int) throws {
        let endpoint = try #require(Endpoint(address: text))
        #expect((endpoint.host, endpoint.port) == (host, port))
        #expect(endpoint.address == text)
    }

    @Test(arguments: ["", ":443", "a", "a:0", "a:65536", "::1:443", "a b:1", "[]:1"])
    func refusesWhatIsNoEndpoint(_ text: String) {
        #expect(Endpoint(address: text) == nil)
    }
}
