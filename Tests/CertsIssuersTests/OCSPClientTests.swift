import CertsCore
import CertsCrypto
import CertsIssuers
import CertsTesting
import Foundation
import Testing

@Suite struct OCSPClientTests {
    /// A certificate, its issuer and what answers about it over HTTP.
    struct Scene {
        let pki: TestPKI
        let leaf: Certificate
        let signer: ResponseSigner
        var client = OCSPClient(deadline: .seconds(20))

        init() throws {
            pki = try TestPKI()
            leaf = try pki.leaf().certificate
            signer = ResponseSigner(issuer: pki.intermediate)
        }

        func responder(_ status: ResponseSigner.Status = .good) throws -> TestResponder {
            let (signer, leaf) = (signer, leaf)
            return try TestResponder(.answers { try signer.response(to: $0.body, about: [leaf], status: status) })
        }

        /// A responder that always says the same.
        func responder(saying der: Data) throws -> TestResponder { try TestResponder(.answers { _ in der }) }

        func ask(_ responders: String..., at now: Date = Date()) async throws -> Staple {
            try await client.staple(
                for: leaf.der, issuer: pki.intermediate.certificate.der, responders: responders, now: now)
        }
    }

    @Test func fetchesAStapleThatVerifies() async throws {
        let scene = try Scene()
        let responder = try scene.responder()
        let staple = try await scene.ask(responder.url)
        let verified = try OCSPStaple(
            der: staple.der, leaf: scene.leaf, issuer: scene.pki.intermediate.certificate, now: Date())
        #expect(verified.status == .good && staple.nextUpdate == verified.nextUpdate)
        #expect(staple.thisUpdate == verified.thisUpdate && staple.refreshAt == verified.refreshAt)
        let request = try #require(responder.requests.first)
        #expect(responder.requests.count == 1)
        #expect(request.head.hasPrefix("POST /ocsp HTTP/1.1"))
        #expect(request.head.lowercased().contains("content-type: application/ocsp-request"))
        #expect(
            try request.body == OCSPRequest.make(leaf: scene.leaf, issuer: scene.pki.intermediate.certificate))
    }

    @Test func theResponderStandsInTheCertificate() async throws {
        var scene = try Scene()
        let responder = try TestResponder(.status(503))
        let leaf = try scene.pki.leaf {
            $0.extraExtensions = [.ocspResponders("http://127.0.0.1:1/", responder.url), .mustStaple]
        }
        #expect(leaf.certificate.record.ocspURLs == ["http://127.0.0.1:1/", responder.url])
        #expect(leaf.certificate.record.mustStaple)
        scene.client = OCSPClient(deadline: .seconds(5))
        await #expect(throws: CertsError(.stapleUnavailable, "")) {
            try await scene.client.staple(
                for: leaf.certificate.der, issuer: scene.pki.intermediate.certificate.der,
                responders: leaf.certificate.record.ocspURLs, now: Date())
        }
        #expect(responder.requests.count == 1)
    }

    enum Trouble: CaseIterable {
        case down, closes, hangs, page, flood, notFound, redirect, unknown, otherCertificate, otherSigner, noNextUpdate
    }

    func responder(_ trouble: Trouble, _ scene: Scene) throws -> String {
        switch trouble {
        case .down: "http://127.0.0.1:\(try LoopbackPort.reserve())/"
        case .closes: try TestResponder(.closes).url
        case .hangs: try TestResponder(.hangs).url
        case .page: try TestResponder(.page).url
        case .flood: try TestResponder(.flood(10 << 20)).url
        case .notFound: try TestResponder(.status(404)).url
        case .redirect: try TestResponder(.status(302)).url
        case .unknown: try scene.responder(.unknown).url
        case .otherCertificate:
            try scene.responder(saying: scene.signer.response(about: [scene.pki.leaf().certificate])).url
        case .otherSigner:
            try scene.responder(
                saying: ResponseSigner(issuer: scene.pki.intermediate, signer: TestPKI().intermediate)
                    .response(about: [scene.leaf])
            ).url
        case .noNextUpdate: try scene.responder(saying: scene.signer.response(about: [scene.leaf], lifetime: [])).url
        }
    }

    @Test("A responder in trouble is named, and the next one is asked", arguments: Trouble.allCases)
    func asksTheNext(_ trouble: Trouble) async throws {
        var scene = try Scene()
        let bad = try responder(trouble, scene)
        let good = try scene.responder()
        // Short only where the deadline is what ends it.
        if trouble == .hangs { scene.client = OCSPClient(deadline: .seconds(1)) }
        let error = await #expect(throws: CertsError.self) { try await scene.ask(bad) }
        let isSilent = [.down, .closes, .hangs, .flood, .notFound, .redirect].contains(trouble)
        #expect(error?.code == (isSilent ? .stapleUnavailable : .stapleRefused), "\(String(describing: error))")
        #expect(error?.details.count == 1 && error?.details.first?.contains(bad) == true)
        #expect(error?.subject == "www.example.com" && error?.hint != nil)
        scene.client = OCSPClient(deadline: .seconds(trouble == .hangs ? 5 : 20))
        _ = try await scene.ask(bad, good.url)
        #expect(good.requests.count == 1)
    }

    @Test func whatIsRevokedIsNotAskedAboutElsewhere() async throws {
        let scene = try Scene()
        let (first, second) = (try scene.responder(.revoked(reason: "keyCompromise")), try scene.responder())
        let error = await #expect(throws: CertsError(.stapleRevoked, "")) {
            try await scene.ask(first.url, second.url)
        }
        #expect(error?.message.contains("keyCompromise") == true && error?.retry == .never)
        #expect(second.requests.isEmpty)
    }

    @Test func aStapleThatIsOutOfDateIsRefused() async throws {
        let scene = try Scene()
        let old = try scene.responder(saying: scene.signer.response(about: [scene.leaf], lifetime: ["-nmin", "60"]))
        await #expect(throws: CertsError(.stapleRefused, "")) {
            try await scene.ask(old.url, at: Date().addingTimeInterval(7200))
        }
    }

    @Test func aStapleThatHAProxyWouldNotServeIsRefused() async throws {
        let scene = try Scene()
        let short = try scene.responder(saying: scene.signer.response(about: [scene.leaf], lifetime: ["-nmin", "60"]))
        let end = try #require(try await scene.ask(short.url).nextUpdate)
        _ = try await scene.ask(short.url, at: end.addingTimeInterval(-301))
        let error = await #expect(throws: CertsError(.stapleRefused, "")) {
            try await scene.ask(short.url, at: end.addingTimeInterval(-300))
        }
        #expect(error?.details.first?.contains("too soon") == true)
    }

    @Test func aCertificateWithoutResponderSaysSo() async throws {
        let error = await #expect(throws: CertsError(.stapleUnavailable, "")) { try await Scene().ask() }
        #expect(error?.retry == .never)
    }

    @Test(
        "An address that is not of the web is never used",
        arguments: ["file:///etc/passwd", "ldap://127.0.0.1/", "x\r\ny"])
    func refusesAddresses(_ address: String) async throws {
        let error = await #expect(throws: CertsError(.stapleUnavailable, "")) { try await Scene().ask(address) }
        #expect(error?.retry == .never)
    }
}
