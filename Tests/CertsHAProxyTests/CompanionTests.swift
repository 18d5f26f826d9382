import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

@testable import CertsHAProxy

/// What goes into HAProxy beside a certificate: its issuer and its OCSP response, seen by a client as the staple.
@Suite(.serialized) struct CompanionTests {
    /// A response that OpenSSL's own responder makes from an index file, signed by the test's intermediate.
    private func response(for leaf: CertificateRecord, pem: String, in growing: GrowingSite) throws -> Data {
        let (site, directory) = (growing.site, growing.site.directory)
        let (index, certificate) = ("index-\(leaf.serial).txt", "leaf-\(leaf.serial).pem")
        try directory.write("V\t301231235959Z\t\t\(leaf.serial.uppercased())\tunknown\t/CN=x\n", to: index)
        try directory.write(pem, to: certificate)
        try directory.write(site.pki.intermediate.certificate.pem, to: "ca.pem")
        try directory.write(try site.pki.intermediate.keyPEM, to: "ca.key")
        let made = try Tool.run(
            "openssl", "ocsp", "-index", index, "-rsigner", "ca.pem", "-rkey", "ca.key", "-CA", "ca.pem", "-issuer",
            "ca.pem", "-cert", certificate, "-respout", "\(leaf.serial).der", "-ndays", "2", "-noverify",
            directory: directory.path)
        return try #require(
            FileManager.default.contents(atPath: directory.path("\(leaf.serial).der")), "openssl ocsp: \(made.output)")
    }

    private func response(in growing: GrowingSite) throws -> Data {
        let leaf = try #require(CanonicalBundle.leaf(of: growing.new.pem))
        return try response(for: leaf.record, pem: leaf.pem, in: growing)
    }

    private func otherResponse(in growing: GrowingSite) throws -> Data {
        let other = try growing.site.pki.leaf(["other.test"]).certificate
        return try response(for: other.record, pem: other.pem, in: growing)
    }

    /// The staple that a client of the new name gets, in the words of OpenSSL.
    private func isStapled(_ growing: GrowingSite) throws -> Bool {
        let client = try Tool.run(
            "openssl", "s_client", "-status", "-connect", "127.0.0.1:\(growing.haproxy.port)", "-servername",
            GrowingSite.newHost)
        let hasNone = client.output.contains("OCSP response: no response sent")
        let hasOne = client.output.contains("OCSP Response Status: successful")
        #expect(hasNone != hasOne, "\(client.output)")
        return hasOne
    }

    /// The bundle of a leaf without its chain: HAProxy needs the issuer to know what a response is about.
    private func chainless(_ growing: GrowingSite) throws -> Secret {
        let leaf = try #require(CanonicalBundle.leaf(of: growing.new.pem))
        return try CanonicalBundle.make(leaf: leaf, chain: [], key: growing.new.pem)
    }

    @Test func staplesFromTheFirstHandshakeOn() async throws {
        let growing = try await GrowingSite.crtList()
        let companions = BundleCompanions(
            issuer: growing.site.pki.intermediate.certificate, ocspResponse: try response(in: growing))
        try await growing.lists.createStore(
            growing.name, bundle: try chainless(growing), leaf: growing.new.leaf, companions: companions)
        #expect(try await growing.lists.session.details(growing.name)?.hasOwnResponse == true)
        try await growing.lists.addEntry(growing.name, to: growing.list)
        #expect(try isStapled(growing))
        #expect(try await growing.served == growing.new.fingerprint)
        // Once it is served, nothing is sent again.
        try await growing.lists.createStore(
            growing.name, bundle: try chainless(growing), leaf: growing.new.leaf, companions: companions)
        #expect(try isStapled(growing))
    }

    @Test func setsCompanionsThatAnEarlierRunDidNot() async throws {
        let growing = try await GrowingSite.crtList()
        try await growing.lists.createStore(growing.name, bundle: growing.new.pem, leaf: growing.new.leaf)
        #expect(try await growing.lists.session.details(growing.name)?.hasOwnResponse == false)
        let companions = BundleCompanions(ocspResponse: try response(in: growing))
        try await growing.lists.createStore(
            growing.name, bundle: growing.new.pem, leaf: growing.new.leaf, companions: companions)
        #expect(try await growing.lists.session.details(growing.name)?.hasOwnResponse == true)
    }

    @Test func refusesAResponseAboutAnotherCertificateThatHAProxyWouldTake() async throws {
        let growing = try await GrowingSite.crtList()
        let foreign = BundleCompanions(ocspResponse: try otherResponse(in: growing))
        let failure = await error {
            try await growing.lists.createStore(
                growing.name, bundle: growing.new.pem, leaf: growing.new.leaf, companions: foreign)
        }
        #expect(failure?.code == .targetRefused)
        #expect(try await growing.transaction() == nil)
        #expect(try await growing.lists.session.details(growing.name) == nil)

        let haproxy = growing.haproxy
        try await growing.deploy()
        let bytes = try #require(foreign.ocspResponse)
        try haproxy.ask("set ssl cert \(growing.name) <<", payload: growing.new.pem.data)
        let set = try haproxy.ask("set ssl cert \(growing.name).ocsp <<", payload: RuntimeCommand.base64(bytes).data)
        #expect(try RuntimeReply.set(set, name: growing.name) == .updated(growing.name.rawValue))
        #expect(try haproxy.ask("commit ssl cert \(growing.name)").contains("Success!"))
        #expect(try !isStapled(growing))
    }

    @Test func losesTheStapleWhereThePEMComesLast() async throws {
        let growing = try await GrowingSite.crtList()
        try await growing.deploy()
        let (haproxy, name) = (growing.haproxy, growing.name)
        let staple = RuntimeCommand.base64(try response(in: growing)).data
        try haproxy.ask("set ssl cert \(name).ocsp <<", payload: staple)
        try haproxy.ask("set ssl cert \(name) <<", payload: growing.new.pem.data)
        #expect(try haproxy.ask("commit ssl cert \(name)").contains("Success!"))
        #expect(try !isStapled(growing))
        try haproxy.ask("set ssl cert \(name) <<", payload: growing.new.pem.data)
        try haproxy.ask("set ssl cert \(name).ocsp <<", payload: staple)
        #expect(try haproxy.ask("commit ssl cert \(name)").contains("Success!"))
        #expect(try isStapled(growing))
        // And a swap without a new response takes the staple away.
        try haproxy.ask("set ssl cert \(name) <<", payload: growing.new.pem.data)
        #expect(try haproxy.ask("commit ssl cert \(name)").contains("Success!"))
        #expect(try !isStapled(growing))
    }

    @Test func renewsAStapleWithoutATransaction() async throws {
        let growing = try await GrowingSite.crtList()
        let response = try response(in: growing)
        try await growing.lists.createStore(
            growing.name, bundle: growing.new.pem, leaf: growing.new.leaf,
            companions: BundleCompanions(ocspResponse: response))
        try await growing.lists.addEntry(growing.name, to: growing.list)
        let connection = growing.lists.session.connection
        #expect(try RuntimeReply.staple(try await connection.send(.updateOCSPResponse(response))) == .updated)
        #expect(try isStapled(growing))
        let other = try otherResponse(in: growing)
        #expect(try RuntimeReply.staple(try await connection.send(.updateOCSPResponse(other))) == .noSuchCertificate)
        let junk = await code {
            _ = try RuntimeReply.staple(try await connection.send(.updateOCSPResponse(Data([1, 2, 3]))))
        }
        #expect(junk == .targetRefused)
    }

    /// HAProxy takes a payload of SCTs as text up to the first NUL, and every list of SCTs begins with one.
    @Test func showsThatSCTsCannotBeSent() async throws {
        let growing = try await GrowingSite.crtList()
        try await growing.deploy()
        let list = Data([0x00, 0x79, 0x00, 0x77]) + Data(repeating: 0x41, count: 0x77)
        for payload in [list, list.base64EncodedData()] {
            let reply = try growing.haproxy.ask("set ssl cert \(growing.name).sctl <<", payload: payload + [10])
            #expect(reply.contains("Can't load the payload"))
        }
    }
}
