internal import COpenSSL
import CertsCore
import Foundation

/// One CRL, parsed.
private final class RevocationList {
    let crl: OpaquePointer
    let issuer: CanonicalName
    /// What makes it unfit for use, or `nil`.
    let problem: String?
    let scope: Scope

    struct Scope {
        var coversLeaves = true
        var coversAuthorities = true
        var isPartial = false
        var urls: [String] = []
    }

    /// - Parameter crl: is owned from here on.
    init(owning crl: OpaquePointer, time: Int64) {
        self.crl = crl
        issuer = CanonicalName(X509_CRL_get_issuer(crl))
        var scope = Scope()
        problem = Self.problem(in: crl, time: time, scope: &scope)
        self.scope = scope
    }

    deinit { X509_CRL_free(crl) }

    private static func problem(in crl: OpaquePointer, time: Int64, scope: inout Scope) -> String? {
        guard let thisUpdate = ASN1Time.read(X509_CRL_get0_lastUpdate(crl)), thisUpdate.seconds <= time else {
            return "is not valid yet"
        }
        guard let nextUpdate = ASN1Time.read(X509_CRL_get0_nextUpdate(crl)) else {
            return "does not say when the next one comes"
        }
        if time > nextUpdate.seconds { return "is out of date" }
        var hasNumber = false
        if let extensions = X509_CRL_get0_extensions(crl) {
            for element in ASN1.elements(extensions) {
                guard let value = ExtensionValue(OpaquePointer(element)) else {
                    return "has an extension that does not decode"
                }
                switch value.nid {
                case NID_crl_number:
                    if value.critical { return "has a critical CRL number (RFC 5280 §5.2.3)" }
                    hasNumber = value.decoded(d2i_ASN1_INTEGER, ASN1_INTEGER_free) { _ in true } ?? false
                case NID_authority_key_identifier:
                    if value.critical { return "has a critical authority key identifier" }
                case NID_issuing_distribution_point:
                    let isReadable: Bool? = value.decoded(d2i_ISSUING_DIST_POINT, ISSUING_DIST_POINT_free) {
                        read($0.pointee, &scope)
                    }
                    if isReadable != true { return "has a scope that is not understood here" }
                case NID_delta_crl: return "is only a delta"
                default: if value.critical { return "has an unknown critical extension" }
                }
            }
        }
        if !hasNumber { return "has no CRL number (RFC 5280 §5.2.3)" }
        return entriesProblem(in: crl)
    }

    private static func read(_ point: ISSUING_DIST_POINT, _ scope: inout Scope) -> Bool {
        if point.indirectCRL > 0 || point.onlyattr > 0 { return false }
        if point.onlyuser > 0 { scope.coversAuthorities = false }
        if point.onlyCA > 0 { scope.coversLeaves = false }
        if point.onlysomereasons != nil { scope.isPartial = true }
        if let name = point.distpoint, name.pointee.type == 0 {
            for case .uri(let bytes) in GeneralName.all(name.pointee.name.fullname) {
                scope.urls.append(String(decoding: bytes, as: UTF8.self))
            }
        }
        return true
    }

    /// An entry with a critical extension that is not understood makes the whole list unusable (RFC 5280 §5.3).
    private static func entriesProblem(in crl: OpaquePointer) -> String? {
        guard let entries = X509_CRL_get_REVOKED(crl) else { return nil }
        for entry in ASN1.elements(entries) {
            guard let extensions = X509_REVOKED_get0_extensions(OpaquePointer(entry)) else { continue }
            for element in ASN1.elements(extensions) where X509_EXTENSION_get_critical(OpaquePointer(element)) != 0 {
                return "has an entry with an unknown critical extension"
            }
        }
        return nil
    }

    func isSigned(by issuer: PathCertificate) -> Bool {
        OpenSSLErrors.clear()
        defer { OpenSSLErrors.clear() }
        return issuer.withX509Key { key in key.map { X509_CRL_verify(crl, $0) == 1 } ?? false }
    }

    func revokes(_ certificate: PathCertificate) -> Bool {
        var entry: OpaquePointer?
        // 2 is an entry that was taken off again, which only a delta may have.
        return certificate.certificate.withX509 { X509_CRL_get0_by_cert(crl, &entry, $0) == 1 }
    }

    func covers(_ certificate: PathCertificate, isLeaf: Bool) -> Bool {
        guard issuer == certificate.issuer, isLeaf ? scope.coversLeaves : scope.coversAuthorities else { return false }
        return scope.urls.isEmpty || !Set(scope.urls).isDisjoint(with: certificate.certificate.record.crlURLs)
    }
}

/// The CRLs that were given, and what they say (RFC 5280 §6.3).
struct Revocation {
    private var lists: [RevocationList] = []
    /// What could not be read.
    private(set) var findings: [Finding] = []

    /// - Parameter inputs: each one CRL in DER, or any number in PEM.
    init(_ inputs: [Data], time: Int64) {
        for (index, input) in inputs.enumerated() {
            let found = Self.parse(input)
            lists += found.compactMap { $0 }.map { RevocationList(owning: $0, time: time) }
            if found.isEmpty || found.contains(nil) {
                findings.append(
                    .error("crl-malformed", "CRL input \(index + 1) is not one, or is damaged", "fetch the CRL again"))
            }
        }
    }

    var isEmpty: Bool { lists.isEmpty && findings.isEmpty }

    /// - Parameter isLeaf: only the leaf must be covered: intermediates are checked where a list of their issuer was
    ///   given, as OpenSSL's `CRL_CHECK` does it.
    func findings(for certificate: PathCertificate, issuer: PathCertificate, isLeaf: Bool) -> [Finding] {
        if isEmpty { return [] }
        var problems: [String] = []
        var isCovered = false
        for list in lists where list.covers(certificate, isLeaf: isLeaf) {
            if let usage = issuer.extensions.keyUsage, !usage.contains(.cRLSign) {
                problems.append("its issuer may not sign CRLs (keyUsage)")
            } else if !list.isSigned(by: issuer) {
                problems.append("its signature is not the issuer's")
            } else if let problem = list.problem {
                problems.append("it \(problem)")
            } else if list.revokes(certificate) {
                return [
                    .error(
                        "revoked", "\(certificate.description) is revoked",
                        "have a new certificate issued, with a new key")
                ]
            } else if !list.scope.isPartial {
                isCovered = true
            }
        }
        if isCovered { return [] }
        if let problem = problems.first {
            return [
                .error(
                    "crl-invalid", "the CRL of \(issuer.description) cannot be used: \(problem)",
                    "fetch a current CRL of this issuer")
            ]
        }
        if isLeaf {
            return [
                .error(
                    "crl-missing", "there is no CRL of \(issuer.description) among those given",
                    "add the CRL of this issuer")
            ]
        }
        return []
    }

    /// One element per CRL found, `nil` for one that does not decode.
    private static func parse(_ input: Data) -> [OpaquePointer?] {
        guard input.count <= CertificateReader.sizeLimit * 4 else { return [] }
        return input.withUnsafeBytes { bytes -> [OpaquePointer?] in
            if bytes.count > 2, bytes[0] == 0x30, bytes[1] & 0x80 != 0 { return [decode(bytes)] }
            var scanner = PEMScanner(bytes)
            var result: [OpaquePointer?] = []
            while let block = scanner.next(), block.number <= 1_000 {
                guard block.isRevocationList else { continue }
                result.append(block.body.flatMap { Base64.withDecoded($0) { decode($0) } ?? nil })
            }
            return result
        }
    }

    private static func decode(_ der: UnsafeRawBufferPointer) -> OpaquePointer? {
        OpenSSLErrors.clear()
        defer { OpenSSLErrors.clear() }
        guard let start = der.bindMemory(to: UInt8.self).baseAddress else { return nil }
        var end: UnsafePointer<UInt8>? = start
        guard let crl = d2i_X509_CRL(nil, &end, der.count) else { return nil }
        guard let end, end - start == der.count else {
            X509_CRL_free(crl)
            return nil
        }
        return crl
    }
}
