import CertsCore
package import CertsCrypto
package import Foundation

/// Makes OCSP responses with the `openssl ocsp` command: an implementation that is independent of what is tested.
package struct ResponseSigner: Sendable {
    package enum Status: Sendable {
        case good
        case revoked(reason: String)
        /// The index of the responder does not have the certificate.
        case unknown
    }

    package let issuer: TestPKI.Identity
    /// Whose key signs; its certificate goes into the response.
    package let signer: TestPKI.Identity

    /// - Parameter signer: `nil`: the issuer itself.
    package init(issuer: TestPKI.Identity, signer: TestPKI.Identity? = nil) {
        self.issuer = issuer
        self.signer = signer ?? issuer
    }

    /// A response about `leaves` whose lifetime starts now.
    ///
    /// - Parameters:
    ///   - lifetime: options that make the next update; none: no next update.
    ///   - options: more options of the command; a digest (`-sha256`) is that of the identifiers.
    package func response(
        about leaves: [Certificate], status: Status = .good, lifetime: [String] = ["-ndays", "1"],
        options: [String] = []
    ) throws -> Data {
        try make(about: leaves, status, lifetime + options) { directory in
            try leaves.enumerated().flatMap { ["-cert", try directory.write($1.pem, to: "leaf\($0).pem")] }
        }
    }

    /// The response to a request in DER, from an index that has `leaves`.
    package func response(
        to request: Data, about leaves: [Certificate], status: Status = .good, lifetime: [String] = ["-ndays", "1"]
    ) throws -> Data {
        try make(about: leaves, status, lifetime) { ["-reqin", try $0.write(request, to: "request.der")] }
    }

    private func make(
        about leaves: [Certificate], _ status: Status, _ options: [String],
        question: (TemporaryDirectory) throws -> [String]
    ) throws -> Data {
        let directory = try TemporaryDirectory()
        let authority = try directory.write(issuer.certificate.pem, to: "ca.pem")
        let outcome = try Tool.run(
            [
                "openssl", "ocsp", "-index",
                directory.write(leaves.map { Self.line($0, status) }.joined(), to: "index"),
                "-rsigner", directory.write(signer.certificate.pem, to: "signer.pem"), "-rkey",
                directory.write(signer.keyPEM, to: "signer.key"), "-CA", authority, "-issuer", authority, "-noverify",
                "-respout", directory.path("response.der"),
            ] + options + question(directory))
        guard let response = FileManager.default.contents(atPath: directory.path("response.der")) else {
            throw Tool.Failure(description: "openssl ocsp made no response: \(outcome.output)")
        }
        return response
    }

    /// One line of an index of `openssl ca`: status, end, revocation, serial number, file, subject, with tabs between.
    private static func line(_ leaf: Certificate, _ status: Status) -> String {
        let serial = leaf.record.serial.uppercased()
        let padded = serial.count.isMultiple(of: 2) ? serial : "0" + serial
        // The command refuses an index in which two certificates have one subject.
        let end = "\(padded)\tunknown\t/CN=\(padded)\n"
        switch status {
        case .good: return "V\t400101000000Z\t\t\(end)"
        case .revoked(let reason): return "R\t400101000000Z\t250101000000Z,\(reason)\t\(end)"
        case .unknown: return ""
        }
    }
}

extension CertificateTemplate.RawExtension {
    /// An authority information access that names OCSP responders (RFC 5280 §4.2.2.1).
    package static func ocspResponders(_ urls: String...) -> Self {
        let descriptions = urls.flatMap { url in
            tagged(0x30, [0x06, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 1] + tagged(0x86, Array(url.utf8)))
        }
        return Self(oid: "1.3.6.1.5.5.7.1.1", critical: false, der: Data(tagged(0x30, descriptions)))
    }

    /// "Must staple" (RFC 7633): the TLS feature status_request.
    package static var mustStaple: Self {
        Self(oid: "1.3.6.1.5.5.7.1.24", critical: false, der: Data(tagged(0x30, [0x02, 1, 5])))
    }

    private static func tagged(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
        let count = content.count
        if count < 0x80 { return [tag, UInt8(count)] + content }
        return [tag, 0x82, UInt8(truncatingIfNeeded: count >> 8), UInt8(truncatingIfNeeded: count)] + content
    }
}
