import Testing

@testable import CertsDNS

@Test func theLibraryIsLinked() { #expect(DNSClient.version.contains(".")) }
