import CertsCore
import Foundation

extension RuntimeReply {
    /// All that `show ssl cert NAME` tells.
    struct StoredCertificateDetails: Sendable, Equatable {
        var stored: StoredCertificate
        /// As they stand in the certificate; HAProxy prints no other kind of name.
        var dnsNames: [String] = []
        /// The common names of the subject, which HAProxy serves as names too.
        var commonNames: [String] = []
        var notAfter: Date?
        /// `EC256`, `RSA2048`.
        var algorithm: String?
        /// The subjects of the chain, in order, as OpenSSL prints them in one line.
        var chainSubjects: [String] = []
        /// The DER of the CertID (RFC 6960 §4.1.1) that the OCSP response in this store is about, in lower-case
        /// hexadecimal; `nil`: there is no response. HAProxy takes a response for another certificate, and ignores it.
        var ocspKey: String?

        /// Whether the OCSP response in this store is about this certificate, as far as the serial tells.
        var hasOwnResponse: Bool {
            guard let ocspKey, let serial = Self.integer(stored.serial) else { return false }
            return ocspKey.hasSuffix(serial)
        }

        var keyType: KeyType? {
            guard let algorithm else { return nil }
            return algorithm.hasPrefix("EC") ? .ecdsa : algorithm.hasPrefix("RSA") ? .rsa : nil
        }

        /// Every name that HAProxy serves this certificate for where no filter says otherwise.
        var names: [String] { dnsNames + commonNames.filter { !dnsNames.contains($0) } }

        /// The DER of a positive INTEGER (X.690 §8.3), in hexadecimal, from digits without leading zeros.
        private static func integer(_ digits: String) -> String? {
            guard var bytes = Hex.decode(digits.count.isMultiple(of: 2) ? digits : "0" + digits),
                let first = bytes.first
            else { return nil }
            if first & 0x80 != 0 { bytes.insert(0, at: 0) }
            guard bytes.count < 0x80 else { return nil }
            return Hex.encode([0x02, UInt8(bytes.count)] + bytes)
        }
    }

    /// As ``storedCertificate(_:name:pending:)``, with everything that the reply has.
    static func storedDetails(_ reply: String, name: StoreName, pending: Bool) throws(CertsError)
        -> StoredCertificateDetails?
    {
        guard let stored = try storedCertificate(reply, name: name, pending: pending) else { return nil }
        return details(of: stored, try lines(of: reply))
    }

    /// Whether HAProxy's buffer (`tune.bufsize`) was too small for its reply about one certificate: 2.6 then leaves out
    /// the rest without a word.
    static func isCutShort(_ reply: String) -> Bool {
        guard reply.hasPrefix("Filename: "), reply.utf8.count > ShownText.harmlessFile else { return false }
        let fingerprint = reply.split(separator: "\n").first { $0.hasPrefix("SHA1 FingerPrint: ") }
        return fingerprint?.utf8.count != "SHA1 FingerPrint: ".utf8.count + 40
    }

    /// What a reply has that was cut short: the serial, and names, perhaps not all; the fingerprint is empty.
    static func glimpse(_ reply: String) -> StoredCertificateDetails? {
        guard isCutShort(reply) else { return nil }
        let lines = reply.split(separator: "\n").map { line in
            // It may end in the middle of a name.
            guard line.hasPrefix("Subject Alternative Name: "), let comma = line.lastIndex(of: ",") else { return line }
            return line[..<comma]
        }
        func field(_ key: String) -> String {
            lines.first { $0.hasPrefix("\(key): ") }.map { String($0.dropFirst(key.count + 2)) } ?? ""
        }
        return details(
            of: StoredCertificate(status: field("Status"), serial: serial(field("Serial")), sha1: ""), lines)
    }

    /// What a file tells of a certificate that HAProxy must not be asked about.
    static func details(of record: CertificateRecord) -> StoredCertificateDetails {
        StoredCertificateDetails(
            stored: StoredCertificate(status: "Used", serial: serial(record.serial), sha1: ""),
            dnsNames: record.dnsNames, commonNames: record.subjectCommonName.map { [$0] } ?? [],
            notAfter: record.notAfter, algorithm: record.keyAlgorithm.hasPrefix("rsa") ? "RSA" : "EC")
    }

    private static func details(of stored: StoredCertificate, _ lines: [Substring]) -> StoredCertificateDetails {
        var details = StoredCertificateDetails(stored: stored)
        for line in lines {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let value = line[line.index(after: colon)...].drop { $0 == " " }
            switch line[..<colon] {
            case "Subject Alternative Name": details.dnsNames += dnsNames(value)
            case "Subject": details.commonNames += commonNames(value)
            case "notAfter": details.notAfter = date(value)
            case "Algorithm": details.algorithm = value.isEmpty ? nil : String(value)
            case "Chain Subject": details.chainSubjects.append(String(value))
            case "OCSP Response Key": details.ocspKey = value.isEmpty ? nil : value.lowercased()
            default: break
            }
        }
        return details
    }

    /// `DNS:a, DNS:*.b, `: a name of another kind leaves a comma behind.
    private static func dnsNames(_ value: Substring) -> [String] {
        value.split(separator: ",").compactMap { part in
            let name = part.drop { $0 == " " }
            return name.hasPrefix("DNS:") && name.count > 4 ? String(name.dropFirst(4)) : nil
        }
    }

    /// `/O=Example/CN=a.test`. A slash inside of a value is not escaped there; no host name has one.
    private static func commonNames(_ value: Substring) -> [String] {
        value.split(separator: "/").compactMap { $0.hasPrefix("CN=") && $0.count > 3 ? String($0.dropFirst(3)) : nil }
    }

    /// `Dec  5 01:08:04 2026 GMT`, as OpenSSL prints a time.
    static func date(_ value: some StringProtocol) -> Date? {
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let words = value.split(separator: " ")
        guard words.count == 5, words[4] == "GMT", let month = months.firstIndex(where: { $0 == words[0] }) else {
            return nil
        }
        let clock = words[2].split(separator: ":", omittingEmptySubsequences: false).map { Int32($0) }
        guard let day = Int32(words[1]), (1...31).contains(day), let year = Int32(words[3]), (0...9999).contains(year),
            clock.count == 3, let hour = clock[0], let minute = clock[1], let second = clock[2],
            (0...23).contains(hour), (0...59).contains(minute), (0...60).contains(second)
        else { return nil }
        var parts = tm()
        parts.tm_year = year - 1900
        parts.tm_mon = Int32(month)
        parts.tm_mday = day
        parts.tm_hour = hour
        parts.tm_min = minute
        parts.tm_sec = second
        return Date(timeIntervalSince1970: TimeInterval(timegm(&parts)))
    }
}
