internal import COpenSSL
import CertsCore
import Foundation

/// Reads the record of a plain certificate straight from its DER: version 3, one printable ASCII value in each RDN,
/// RSA, a NIST curve or Ed25519, extensions in their usual forms.
///
/// `d2i_X509` makes objects of everything; most of its time goes into the canonical form of the two names and into a
/// search for a decoder of the key, and a record needs neither. So an inventory reads its certificates here.
///
/// Whatever is not plain, damaged certificates included, is `nil`, and ``CertificateReader`` asks OpenSSL: only OpenSSL
/// refuses. A test changes each byte of certificates and compares: this code accepts nothing that OpenSSL refuses, and
/// says nothing else of what both accept.
struct PlainCertificate {
    private typealias Tag = DERReader.Tag
    private var record = CertificateRecord()

    /// - Returns: `nil` for what is not plain.
    static func record(of der: UnsafeRawBufferPointer) -> CertificateRecord? {
        guard let content = DERReader.only(Tag.sequence, in: der) else { return nil }
        var parts = DERReader(content)
        var plain = PlainCertificate()
        guard let body = parts.next(Tag.sequence), let algorithm = parts.next(Tag.sequence),
            let signature = parts.next(), signature.wholeBits != nil, parts.isAtEnd,
            let algorithmName = signatureName(algorithm.content), plain.readBody(body.content, algorithm)
        else { return nil }
        plain.record.signatureAlgorithm = algorithmName
        plain.record.sha1 = Digest.sha1.hexadecimal(of: der)
        plain.record.sha256 = Digest.sha256.hexadecimal(of: der)
        return plain.record
    }

    /// TBSCertificate (RFC 5280 §4.1.2).
    private mutating func readBody(_ body: UnsafeRawBufferPointer, _ algorithm: DERReader.Element) -> Bool {
        var fields = DERReader(body)
        guard fields.next(0xa0)?.content.elementsEqual([0x02, 0x01, 0x02]) == true,
            let serial = fields.next()?.positiveInteger,
            let inner = fields.next(Tag.sequence), inner.whole.elementsEqual(algorithm.whole),
            let issuer = fields.next(Tag.sequence), let issuerName = PlainName(issuer.content),
            let validity = fields.next(Tag.sequence), readValidity(validity.content),
            let subject = fields.next(Tag.sequence), let subjectName = PlainName(subject.content),
            let key = fields.next(Tag.sequence), readKey(key)
        else { return false }
        record.serial = Hex.encode(serial.bytes)
        (record.issuer, record.issuerCommonName) = (issuerName.text, issuerName.commonName)
        (record.subject, record.subjectCommonName) = (subjectName.text, subjectName.commonName)
        if !fields.isAtEnd {
            guard let extensions = fields.next(0xa3), fields.isAtEnd,
                let list = DERReader.only(Tag.sequence, in: extensions.content), readExtensions(list)
            else { return false }
        }
        let isSameName = subject.content.elementsEqual(issuer.content)
        // Names that differ in case or blanks alone are the same to X.501.
        if !isSameName, subjectName.mayEqual(issuerName) { return false }
        let keysAgree = record.authorityKeyID == nil || record.subjectKeyID == nil || record.authorityKeyID == record.subjectKeyID
        record.selfSigned = isSameName && keysAgree
        return true
    }

    private mutating func readValidity(_ content: UnsafeRawBufferPointer) -> Bool {
        var times = DERReader(content)
        guard let first = times.next(), let last = times.next(), times.isAtEnd,
            let notBefore = ASN1Time.plain(tag: first.tag, first.content.bytes),
            let notAfter = ASN1Time.plain(tag: last.tag, last.content.bytes)
        else { return false }
        record.notBefore = Date(timeIntervalSince1970: TimeInterval(notBefore))
        record.notAfter = Date(timeIntervalSince1970: TimeInterval(notAfter))
        return true
    }

    /// SubjectPublicKeyInfo (RFC 3279 §2.3, RFC 5480 §2, RFC 8410 §4).
    private mutating func readKey(_ key: DERReader.Element) -> Bool {
        var parts = DERReader(key.content)
        guard let algorithm = parts.next(Tag.sequence), let bits = parts.next()?.wholeBits, parts.isAtEnd else { return false }
        if algorithm.content.elementsEqual(PlainObjects.p256) {
            (record.keyAlgorithm, record.keyBits) = ("ecdsa-p256", 256)
        } else if algorithm.content.elementsEqual(PlainObjects.p384) {
            (record.keyAlgorithm, record.keyBits) = ("ecdsa-p384", 384)
        } else if algorithm.content.elementsEqual(PlainObjects.p521) {
            (record.keyAlgorithm, record.keyBits) = ("ecdsa-p521", 521)
        } else if algorithm.content.elementsEqual(PlainObjects.ed25519) {
            (record.keyAlgorithm, record.keyBits) = ("ed25519", 256)
        } else if algorithm.content.elementsEqual(PlainObjects.rsa) {
            guard let size = modulusBits(bits) else { return false }
            (record.keyAlgorithm, record.keyBits) = ("rsa-\(size)", size)
        } else {
            return false
        }
        record.spkiSHA256 = Digest.sha256.base64(of: key.whole)
        return true
    }

    private func modulusBits(_ key: UnsafeRawBufferPointer) -> Int? {
        guard let content = DERReader.only(Tag.sequence, in: key) else { return nil }
        var numbers = DERReader(content)
        guard let modulus = numbers.next()?.positiveInteger, let top = modulus.first,
            numbers.next()?.positiveInteger != nil, numbers.isAtEnd
        else { return nil }
        return modulus.count * 8 - top.leadingZeroBitCount
    }

    private static func signatureName(_ algorithm: UnsafeRawBufferPointer) -> String? {
        PlainObjects.signatures.first { algorithm.elementsEqual($0.algorithm) }?.name
    }
}

// MARK: - Extensions (RFC 5280 §4.2)

extension PlainCertificate {
    private mutating func readExtensions(_ list: UnsafeRawBufferPointer) -> Bool {
        var extensions = DERReader(list)
        guard !extensions.isAtEnd else { return false }
        while !extensions.isAtEnd {
            guard let element = extensions.next(Tag.sequence) else { return false }
            var parts = DERReader(element.content)
            guard let object = parts.next(), object.isObject else { return false }
            if parts.nextTag == Tag.boolean, parts.next()?.content.elementsEqual([0xff]) != true { return false }
            guard let value = parts.next(Tag.octetString), parts.isAtEnd, read(object.content, value.content) else { return false }
        }
        return true
    }

    private mutating func read(_ object: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Bool {
        if object.count == 3, object[0] == 0x55, object[1] == 0x1d {
            switch object[2] {
            case 14: return readSubjectKey(value)
            case 15: return readKeyUsage(value)
            case 17: return DERReader.only(Tag.sequence, in: value).map { readNames($0) } ?? false
            case 19: return DERReader.only(Tag.sequence, in: value).map { readBasicConstraints($0) } ?? false
            case 31: return DERReader.only(Tag.sequence, in: value).map { readDistributionPoints($0) } ?? false
            case 35: return DERReader.only(Tag.sequence, in: value).map { readAuthorityKey($0) } ?? false
            case 37: return DERReader.only(Tag.sequence, in: value).map { readPurposes($0) } ?? false
            default: return true
            }
        }
        if object.elementsEqual(PlainObjects.informationAccess) {
            return DERReader.only(Tag.sequence, in: value).map { readAccess($0) } ?? false
        }
        // TLS features are rare; everything else is not in a record.
        return !object.elementsEqual(PlainObjects.tlsFeature)
    }

    private mutating func readSubjectKey(_ value: UnsafeRawBufferPointer) -> Bool {
        guard let identifier = DERReader.only(Tag.octetString, in: value), !identifier.isEmpty else { return false }
        record.subjectKeyID = Hex.encode(identifier.bytes)
        return true
    }

    private mutating func readAuthorityKey(_ content: UnsafeRawBufferPointer) -> Bool {
        // Issuer and serial beside the key identifier are rare.
        guard let identifier = DERReader.only(0x80, in: content), !identifier.isEmpty else { return false }
        record.authorityKeyID = Hex.encode(identifier.bytes)
        return true
    }

    private mutating func readKeyUsage(_ value: UnsafeRawBufferPointer) -> Bool {
        guard let content = DERReader.only(Tag.bitString, in: value), content.count == 2, content[0] < 8,
            content[1] & (1 << content[0] - 1) == 0
        else { return false }
        // Bit 0 is the highest one in the encoding, and the lowest one in the set.
        var usage: UInt16 = 0
        for bit in 0..<8 where content[1] & (0x80 >> UInt8(bit)) != 0 { usage |= 1 << UInt16(bit) }
        record.keyUsage = KeyUsage(rawValue: usage).names
        return true
    }

    private mutating func readBasicConstraints(_ content: UnsafeRawBufferPointer) -> Bool {
        (record.hasBasicConstraints, record.isCA, record.pathLength) = (true, false, nil)
        if content.isEmpty { return true }
        var fields = DERReader(content)
        guard fields.next(Tag.boolean)?.content.elementsEqual([0xff]) == true else { return false }
        record.isCA = true
        if fields.isAtEnd { return true }
        guard let length = fields.next(Tag.integer), length.content.count == 1, length.content[0] < 0x80 else { return false }
        record.pathLength = Int(length.content[0])
        return fields.isAtEnd
    }

    private mutating func readPurposes(_ content: UnsafeRawBufferPointer) -> Bool {
        var purposes = DERReader(content)
        var names: [String] = []
        while !purposes.isAtEnd {
            guard let object = purposes.next(Tag.object), let last = object.content.last,
                object.content.dropLast().elementsEqual(PlainObjects.purposes), let name = PlainObjects.purposeNames[last]
            else { return false }
            names.append(name)
        }
        record.extendedKeyUsage = names
        return !names.isEmpty
    }

    private mutating func readNames(_ content: UnsafeRawBufferPointer) -> Bool {
        var names = DERReader(content)
        guard !names.isAtEnd else { return false }
        while !names.isAtEnd {
            guard let name = names.next() else { return false }
            switch name.tag {
            case 0x87:
                guard let address = IPAddress(bytes: Array(name.content)) else { return false }
                record.ipAddresses.append(address.description)
            case 0x81, 0x82, 0x86:
                guard let text = name.content.plainText else { return false }
                if name.tag == 0x82 {
                    record.dnsNames.append(text)
                } else if name.tag == 0x81 {
                    record.emailAddresses.append(text)
                } else {
                    record.uris.append(text)
                }
            default: return false
            }
        }
        return true
    }

    private mutating func readAccess(_ content: UnsafeRawBufferPointer) -> Bool {
        var descriptions = DERReader(content)
        guard !descriptions.isAtEnd else { return false }
        while !descriptions.isAtEnd {
            guard let description = descriptions.next(Tag.sequence) else { return false }
            var parts = DERReader(description.content)
            guard let method = parts.next(Tag.object), let location = parts.next(0x86)?.content.plainText, parts.isAtEnd
            else { return false }
            if method.content.elementsEqual(PlainObjects.ocsp) {
                record.ocspURLs.append(location)
            } else if method.content.elementsEqual(PlainObjects.caIssuers) {
                record.caIssuersURLs.append(location)
            } else {
                return false
            }
        }
        return true
    }

    private mutating func readDistributionPoints(_ content: UnsafeRawBufferPointer) -> Bool {
        var points = DERReader(content)
        guard !points.isAtEnd else { return false }
        while !points.isAtEnd {
            // DistributionPoint { distributionPoint [0] { fullName [0] { URIs } } }, without reasons and CRL issuer.
            guard let point = points.next(Tag.sequence), let name = DERReader.only(0xa0, in: point.content),
                let fullName = DERReader.only(0xa0, in: name), !fullName.isEmpty
            else { return false }
            var locations = DERReader(fullName)
            while !locations.isAtEnd {
                guard let url = locations.next(0x86)?.content.plainText else { return false }
                record.crlURLs.append(url)
            }
        }
        return true
    }
}
