import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

/// What the real HAProxy does with OCSP responses: the reasons for the rules of `OCSPStaple` and `OCSPClient`.
@Suite struct StapleFactsTests {
    enum Form: String, CaseIterable {
        case good, revoked, badSignature, noNextUpdate, sha256, two, unknown, otherCertificate, endsInFourMinutes

        func make(_ signer: ResponseSigner, about leaf: Certificate, other: Certificate) throws -> Data {
            switch self {
            case .good: try signer.response(about: [leaf], lifetime: ["-ndays", "2"])
            case .revoked: try signer.response(about: [leaf], status: .revoked(reason: "superseded"))
            case .badSignature: try signer.response(about: [leaf], options: ["-badsig"])
            case .noNextUpdate: try signer.response(about: [leaf], lifetime: [])
            case .sha256: try signer.response(about: [leaf], options: ["-sha256"])
            case .two: try signer.response(about: [leaf, other])
            case .unknown: try signer.response(about: [leaf], status: .unknown)
            case .otherCertificate: try signer.response(about: [other])
            case .endsInFourMinutes: try signer.response(about: [leaf], lifetime: ["-nmin", "4"])
            }
        }
    }

    @Test("HAProxy serves what is lightweight, and does not look at signatures", arguments: Form.allCases)
    func servesStaples(_ form: Form) async throws {
        let directory = try TemporaryDirectory(prefix: "hap")
        let pki = try TestPKI()
        let leaf = try pki.leaf()
        let issuer = pki.intermediate.certificate
        let path = try directory.write(leaf.bundle(chain: [issuer]), to: "server.pem")
        let signer = ResponseSigner(issuer: pki.intermediate)
        let first = try signer.response(about: [leaf.certificate])
        try directory.write(first, to: "server.pem.ocsp")
        let haproxy = try await RealHAProxy.start(in: directory, crt: [path])
        let second = try form.make(signer, about: leaf.certificate, other: pki.leaf().certificate)

        func served() async throws -> ProbeResult {
            let probe = TLSProbe(host: "127.0.0.1", port: haproxy.port)
            return try await BlockingPool.network.run { try probe.run() }
        }
        let before = try await served()
        #expect(before.ocspStaple == first)
        #expect(try before.staple(now: Date())?.status == .good)

        let reply = try haproxy.ask("set ssl ocsp-response \(second.base64EncodedString())")
        let after = try await served().ocspStaple
        let staple = try? OCSPStaple(der: second, leaf: leaf.certificate, issuer: issuer, now: Date())
        switch form {
        case .good, .revoked:
            #expect(reply.contains("OCSP Response updated!") && after == second && staple?.isLightweight == true)
        case .badSignature:
            #expect(reply.contains("OCSP Response updated!") && after == second && staple == nil)
        case .endsInFourMinutes:
            #expect(reply.contains("OCSP Response updated!") && after == nil && staple != nil)
        case .otherCertificate:
            #expect(reply.contains("does not match") && after == first && staple == nil)
        case .unknown:
            #expect(reply.contains("status is unknown") && after == first && staple?.status == .unknown)
        case .noNextUpdate, .sha256, .two:
            #expect(!reply.contains("updated") && after == first && staple?.isLightweight == false)
        }
    }
}
