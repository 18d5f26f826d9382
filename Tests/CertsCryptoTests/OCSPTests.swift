import CertsCore
import CertsTesting
import Foundation
import Testing

@testable import CertsCrypto

@Suite struct OCSPTests {
    /// A leaf with what answers about it.
    struct Scene {
        let pki: TestPKI
        let leaf: TestPKI.Identity
        let signer: ResponseSigner

        init(algorithm: KeyAlgorithm = .ecdsaP256) throws {
            pki = try TestPKI(algorithm: algorithm)
            leaf = try pki.leaf()
            signer = ResponseSigner(issuer: pki.intermediate)
        }

        var issuer: Certificate { pki.intermediate.certificate }

        func delegate(
            issuer: TestPKI.Identity? = nil, _ change: TestPKI.Change = { _ in }
        ) throws -> ResponseSigner {
            let responder = try pki.leaf([], issuer: issuer) {
                $0.subject = Subject(commonName: "Responder")
                $0.extendedKeyUsage = ["OCSPSigning"]
                change(&$0)
            }
            return ResponseSigner(issuer: pki.intermediate, signer: responder)
        }

        func verified(_ der: Data, at now: Date = Date()) throws(CertsError) -> OCSPStaple {
            try OCSPStaple(der: der, leaf: leaf.certificate, issuer: issuer, now: now)
        }

        /// Expects a refusal whose message has `reason`.
        func refuses(_ der: Data, at now: Date = Date(), because reason: String) {
            let error = #expect(throws: CertsError(.stapleRefused, "")) { try verified(der, at: now) }
            #expect(error?.message.contains(reason) == true, "\(String(describing: error))")
            #expect(error?.hint != nil)
        }
    }

    @Test func theCommandReadsOurRequest() throws {
        let scene = try Scene()
        let request = try OCSPRequest.make(leaf: scene.leaf.certificate, issuer: scene.issuer)
        let directory = try TemporaryDirectory()
        let text = try Tool.run(
            "openssl", "ocsp", "-reqin", directory.write(request, to: "request.der"), "-req_text"
        ).output.lowercased()
        #expect(text.contains("hash algorithm: sha1"))
        #expect(text.contains("serial number: \(scene.leaf.certificate.record.serial)"))
        #expect(!text.contains("nonce") && !text.contains("signature"))
        // It is the question to which the response is one: the same without a byte of ours.
        try Tool.run(
            "openssl", "ocsp", "-issuer", directory.write(scene.issuer.pem, to: "ca.pem"), "-cert",
            directory.write(scene.leaf.certificate.pem, to: "leaf.pem"), "-no_nonce", "-reqout",
            directory.path("theirs"))
        #expect(try Data(contentsOf: directory.url.appending(path: "theirs")) == request)
    }

    @Test func aRequestNeedsTheIssuerOfTheLeaf() throws {
        let scene = try Scene()
        #expect(throws: CertsError(.certificateRejected, "")) {
            try OCSPRequest.make(leaf: scene.leaf.certificate, issuer: scene.pki.root.certificate)
        }
    }

    @Test("Good is good, whatever the key of the issuer", arguments: [KeyAlgorithm.ecdsaP256, .rsa2048, .ecdsaP384])
    func good(_ algorithm: KeyAlgorithm) throws {
        let scene = try Scene(algorithm: algorithm)
        let der = try scene.signer.response(about: [scene.leaf.certificate], lifetime: ["-ndays", "4"])
        let now = Date()
        let staple = try scene.verified(der, at: now)
        #expect(staple.status == .good && staple.der == der && staple.isLightweight)
        let end = try #require(staple.nextUpdate)
        #expect(end.timeIntervalSince(staple.thisUpdate) == 4 * 86400)
        #expect(staple.refreshAt == staple.thisUpdate.addingTimeInterval(2 * 86400))
    }

    @Test func aStapleIsAskedForAgainInTimeAndNotInALoop() {
        let start = Date(timeIntervalSince1970: 1_800_000_000)
        func refresh(_ now: TimeInterval) -> TimeInterval {
            OCSPStaple.refresh(from: start, until: start.addingTimeInterval(1000), now: start.addingTimeInterval(now))
                .timeIntervalSince(start)
        }
        #expect(refresh(0) == 500)
        #expect(refresh(499) == 500)
        #expect(refresh(500) == 750)
        #expect(refresh(800) == 900)
        #expect(refresh(999) == 1059)
    }

    @Test func revokedIsToldWithItsDateAndReason() throws {
        let scene = try Scene()
        let der = try scene.signer.response(
            about: [scene.leaf.certificate], status: .revoked(reason: "keyCompromise"))
        let date = try Date("2025-01-01T00:00:00Z", strategy: .iso8601)
        #expect(try scene.verified(der).status == .revoked(at: date, reason: "keyCompromise"))
    }

    @Test func unknownIsNotGood() throws {
        let scene = try Scene()
        let der = try scene.signer.response(about: [scene.leaf.certificate], status: .unknown)
        #expect(try scene.verified(der).status == .unknown)
    }

    @Test func otherFormsAreReadAndMarked() throws {
        let scene = try Scene()
        let leaf = scene.leaf.certificate
        let endless = try scene.verified(scene.signer.response(about: [leaf], lifetime: []))
        #expect(endless.nextUpdate == nil && !endless.isLightweight && endless.status == .good)
        #expect(endless.refreshAt == endless.thisUpdate.addingTimeInterval(12 * 3600))
        let sha256 = try scene.verified(scene.signer.response(about: [leaf], options: ["-sha256"]))
        #expect(!sha256.isLightweight && sha256.status == .good)
        let two = try scene.verified(scene.signer.response(about: [scene.pki.leaf().certificate, leaf]))
        #expect(!two.isLightweight && two.status == .good)
        let byKey = try scene.verified(
            scene.signer.response(about: [leaf], options: ["-resp_key_id", "-resp_no_certs"]))
        #expect(byKey.isLightweight && byKey.status == .good)
    }

    @Test func aResponseWithoutEndGetsOldToo() throws {
        let scene = try Scene()
        let der = try scene.signer.response(about: [scene.leaf.certificate], lifetime: [])
        #expect(throws: Never.self) { try scene.verified(der, at: Date().addingTimeInterval(86000)) }
        scene.refuses(der, at: Date().addingTimeInterval(86500), because: "out of date")
    }

    @Test func aDelegatedResponderMaySign() throws {
        let scene = try Scene()
        let der = try scene.delegate().response(about: [scene.leaf.certificate])
        #expect(try scene.verified(der).status == .good)
    }

    enum Delegate: String, CaseIterable {
        case withoutUsage, forAnyUsage, forServers, ofAnotherIssuer, expired, whoseCertificateIsNotSent
    }

    @Test("A responder that the issuer did not authorise is refused", arguments: Delegate.allCases)
    func refusesDelegates(_ delegate: Delegate) throws {
        let scene = try Scene()
        let signer =
            switch delegate {
            case .withoutUsage: try scene.delegate { $0.extendedKeyUsage = [] }
            case .forAnyUsage: try scene.delegate { $0.extendedKeyUsage = ["anyExtendedKeyUsage"] }
            case .forServers: try scene.delegate { $0.extendedKeyUsage = ["serverAuth"] }
            case .ofAnotherIssuer: try scene.delegate(issuer: scene.pki.root)
            case .expired: try scene.delegate { $0.notAfter = scene.pki.now.addingTimeInterval(-60) }
            case .whoseCertificateIsNotSent: try scene.delegate()
            }
        let der = try signer.response(
            about: [scene.leaf.certificate], options: delegate == .whoseCertificateIsNotSent ? ["-resp_no_certs"] : [])
        scene.refuses(der, because: "signature")
    }

    @Test func anotherAuthorityOfTheSameNameIsRefused() throws {
        let scene = try Scene()
        let imposter = try TestPKI()
        // About our leaf by the names and keys of our issuer, signed with the key of a namesake.
        let der = try ResponseSigner(issuer: scene.pki.intermediate, signer: imposter.intermediate)
            .response(about: [scene.leaf.certificate])
        scene.refuses(der, because: "signature")
    }

    @Test func theLeafItselfMayNotSign() throws {
        let scene = try Scene()
        let der = try ResponseSigner(issuer: scene.pki.intermediate, signer: scene.leaf)
            .response(about: [scene.leaf.certificate])
        scene.refuses(der, because: "signature")
    }

    @Test func aBrokenSignatureIsRefused() throws {
        let scene = try Scene()
        scene.refuses(
            try scene.signer.response(about: [scene.leaf.certificate], options: ["-badsig"]), because: "signature")
    }

    @Test func aResponseAboutAnotherCertificateIsRefused() throws {
        let scene = try Scene()
        scene.refuses(
            try scene.signer.response(about: [scene.pki.leaf().certificate]), because: "another certificate")
    }

    @Test func theIssuerMustBeTheOneOfTheLeaf() throws {
        let scene = try Scene()
        let der = try scene.signer.response(about: [scene.leaf.certificate])
        #expect(throws: CertsError(.certificateRejected, "")) {
            try OCSPStaple(
                der: der, leaf: scene.leaf.certificate, issuer: scene.pki.root.certificate, now: Date())
        }
    }

    @Test func itHoldsFromItsStartToItsEndOnly() throws {
        let scene = try Scene()
        let der = try scene.signer.response(about: [scene.leaf.certificate], lifetime: ["-nmin", "60"])
        let start = try scene.verified(der).thisUpdate
        #expect(throws: Never.self) { try scene.verified(der, at: start.addingTimeInterval(-300)) }
        scene.refuses(der, at: start.addingTimeInterval(-301), because: "future")
        #expect(throws: Never.self) { try scene.verified(der, at: start.addingTimeInterval(3599)) }
        scene.refuses(der, at: start.addingTimeInterval(3600), because: "out of date")
    }

    @Test(
        "An answer that is only an error is named",
        arguments: [(1, "malformed"), (2, "internal"), (3, "try"), (6, "una")])
    func errorsOfResponders(_ status: UInt8, _ word: String) throws {
        let error = #expect(throws: CertsError(.stapleRefused, "")) {
            try Scene().verified(Data([0x30, 3, 0x0a, 1, status]))
        }
        #expect(error?.message.contains(word) == true, "\(String(describing: error))")
        #expect(error?.retry == (status == 1 ? .never : .later))
    }

    @Test func nonsenseIsRefused() throws {
        let scene = try Scene()
        let der = try scene.signer.response(about: [scene.leaf.certificate])
        scene.refuses(Data(), because: "not an OCSP response")
        scene.refuses(Data("<html>no</html>".utf8), because: "not an OCSP response")
        scene.refuses(scene.leaf.certificate.der, because: "not an OCSP response")
        scene.refuses(der + [0], because: "not an OCSP response")
        scene.refuses(Data([0x30, 3, 0x0a, 1, 0]), because: "not a basic OCSP response")
        scene.refuses(Data(count: OCSPStaple.sizeLimit + 1), because: "bytes")
        scene.refuses(Data(count: OCSPStaple.sizeLimit), because: "not an OCSP response")
        for count in 0..<der.count {
            #expect(throws: CertsError(.stapleRefused, "")) { try scene.verified(der.prefix(count)) }
        }
    }

    @Test func anotherEncodingOfTheSameIsRefused() throws {
        let scene = try Scene()
        let der = try scene.signer.response(about: [scene.leaf.certificate])
        try #require(der.starts(with: [0x30, 0x82]), "a length of two bytes")
        // The same length in three bytes: BER, not DER.
        scene.refuses(Data([0x30, 0x83, 0]) + der.dropFirst(2), because: "DER")
    }

    @Test("No changed response passes for another", arguments: [false, true])
    func survivesMutations(isDelegated: Bool) throws {
        let scene = try Scene()
        let leaf = scene.leaf.certificate
        // The certificates in a response are not signed with it; without them each byte counts.
        let der =
            isDelegated
            ? try scene.delegate().response(about: [leaf], status: .revoked(reason: "superseded"))
            : try scene.signer.response(
                about: [leaf], status: .revoked(reason: "superseded"), options: ["-resp_no_certs"])
        let now = Date()
        #expect(throws: Never.self) { try scene.verified(der, at: now) }
        var random = SeededRandom(state: 6960)
        for round in 0..<5000 {
            let changed = der.mutated(using: &random)
            guard changed != der else { continue }
            #expect(throws: CertsError.self, "round \(round): \(changed.base64EncodedString())") {
                try scene.verified(changed, at: now)
            }
        }
    }
}

/// A generator that gives the same numbers in each run (SplitMix64).
struct SeededRandom: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }
}

extension Data {
    /// A copy with a few bits flipped, bytes replaced, removed, added, or moved.
    fileprivate func mutated(using random: inout SeededRandom) -> Data {
        var bytes = [UInt8](self)
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            let place = Int.random(in: 0..<bytes.count, using: &random)
            switch Int.random(in: 0..<6, using: &random) {
            case 0, 1: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 2: bytes[place] = UInt8.random(in: 0...255, using: &random)
            case 3: bytes.remove(at: place)
            case 4: bytes.insert(UInt8.random(in: 0...255, using: &random), at: place)
            default: bytes.swapAt(place, Int.random(in: 0..<bytes.count, using: &random))
            }
        }
        return Data(bytes)
    }
}
