import CertsCore
import Foundation

/// Writes values in the compact form of the inventory's columns: fixed-width little-endian numbers, counted UTF-8.
///
/// JSON would cost more than all else at 10,000 rows. The form is private to the database, which can be rebuilt from
/// the files at any time: a change of it is a new ``CertificateRecord/packingVersion``.
struct Packer {
    private(set) var bytes: [UInt8] = []

    mutating func put(_ value: Bool) { bytes.append(value ? 1 : 0) }

    mutating func put(_ value: Int) {
        withUnsafeBytes(of: Int64(value).littleEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func put(_ value: Date) {
        withUnsafeBytes(of: value.timeIntervalSinceReferenceDate.bitPattern.littleEndian) {
            bytes.append(contentsOf: $0)
        }
    }

    mutating func put(_ value: String) {
        var value = value
        value.withUTF8 { text in
            withUnsafeBytes(of: UInt32(truncatingIfNeeded: text.count).littleEndian) { bytes.append(contentsOf: $0) }
            bytes.append(contentsOf: text)
        }
    }

    mutating func put<Value>(_ value: Value?, _ write: (inout Packer, Value) -> Void) {
        put(value != nil)
        if let value { write(&self, value) }
    }

    mutating func put<Value>(_ values: [Value], _ write: (inout Packer, Value) -> Void) {
        put(values.count)
        for value in values { write(&self, value) }
    }

    mutating func put(_ values: [String]) { put(values) { $0.put($1) } }
    mutating func put(_ value: String?) { put(value) { $0.put($1) } }
    mutating func put(_ value: Int?) { put(value) { $0.put($1) } }
    mutating func put(_ value: Date?) { put(value) { $0.put($1) } }
}

/// Reads what ``Packer`` wrote; any other bytes give ``Malformed``, never a trap, never more memory than they are long.
struct Unpacker {
    struct Malformed: Error {}

    private var rest: UnsafeRawBufferPointer

    /// The bytes must outlive the value.
    init(_ bytes: UnsafeRawBufferPointer) { rest = bytes }

    var isAtEnd: Bool { rest.isEmpty }

    private mutating func take(_ count: Int) throws -> UnsafeRawBufferPointer {
        guard count <= rest.count else { throw Malformed() }
        defer { rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count)) }
        return UnsafeRawBufferPointer(rebasing: rest.prefix(count))
    }

    mutating func bool() throws -> Bool {
        switch try take(1)[0] {
        case 0: false
        case 1: true
        default: throw Malformed()
        }
    }

    mutating func int() throws -> Int {
        Int(Int64(littleEndian: try take(8).loadUnaligned(as: Int64.self)))
    }

    mutating func date() throws -> Date {
        let seconds = Double(bitPattern: UInt64(littleEndian: try take(8).loadUnaligned(as: UInt64.self)))
        // A date beyond the year 9999 (or no number at all) was not written by us and traps in calendar arithmetic.
        guard abs(seconds) < 1e12 else { throw Malformed() }
        return Date(timeIntervalSinceReferenceDate: seconds)
    }

    mutating func string() throws -> String {
        let count = UInt32(littleEndian: try take(4).loadUnaligned(as: UInt32.self))
        return String(decoding: try take(Int(count)), as: UTF8.self)
    }

    mutating func optional<Value>(_ read: (inout Unpacker) throws -> Value) throws -> Value? {
        try bool() ? read(&self) : nil
    }

    mutating func list<Value>(_ read: (inout Unpacker) throws -> Value) throws -> [Value] {
        let count = try int()
        // Each element takes at least one byte.
        guard count >= 0, count <= rest.count else { throw Malformed() }
        var values: [Value] = []
        values.reserveCapacity(count)
        for _ in 0..<count { values.append(try read(&self)) }
        return values
    }

    mutating func strings() throws -> [String] { try list { try $0.string() } }

    mutating func word<Value: RawRepresentable>(_ type: Value.Type) throws -> Value where Value.RawValue == String {
        guard let value = Value(rawValue: try string()) else { throw Malformed() }
        return value
    }
}

extension CertificateRecord {
    /// The form of packed values in this version of the program.
    static let packingVersion = 2

    func pack(into packer: inout Packer) {
        packer.put(subject)
        packer.put(issuer)
        packer.put(subjectCommonName)
        packer.put(issuerCommonName)
        packer.put(serial)
        packer.put(version)
        packer.put(notBefore)
        packer.put(notAfter)
        packer.put(keyAlgorithm)
        packer.put(keyBits)
        packer.put(signatureAlgorithm)
        for list in [dnsNames, ipAddresses, emailAddresses, uris, keyUsage, extendedKeyUsage] { packer.put(list) }
        for list in [caIssuersURLs, ocspURLs, crlURLs] { packer.put(list) }
        for flag in [hasBasicConstraints, isCA, mustStaple, selfSigned] { packer.put(flag) }
        packer.put(pathLength)
        packer.put(subjectKeyID)
        packer.put(authorityKeyID)
        packer.put(sha1)
        packer.put(sha256)
        packer.put(spkiSHA256)
    }

    init(from unpacker: inout Unpacker) throws {
        self.init()
        subject = try unpacker.string()
        issuer = try unpacker.string()
        subjectCommonName = try unpacker.optional { try $0.string() }
        issuerCommonName = try unpacker.optional { try $0.string() }
        serial = try unpacker.string()
        version = try unpacker.int()
        notBefore = try unpacker.date()
        notAfter = try unpacker.date()
        keyAlgorithm = try unpacker.string()
        keyBits = try unpacker.int()
        signatureAlgorithm = try unpacker.string()
        dnsNames = try unpacker.strings()
        ipAddresses = try unpacker.strings()
        emailAddresses = try unpacker.strings()
        uris = try unpacker.strings()
        keyUsage = try unpacker.strings()
        extendedKeyUsage = try unpacker.strings()
        caIssuersURLs = try unpacker.strings()
        ocspURLs = try unpacker.strings()
        crlURLs = try unpacker.strings()
        hasBasicConstraints = try unpacker.bool()
        isCA = try unpacker.bool()
        mustStaple = try unpacker.bool()
        selfSigned = try unpacker.bool()
        pathLength = try unpacker.optional { try $0.int() }
        subjectKeyID = try unpacker.optional { try $0.string() }
        authorityKeyID = try unpacker.optional { try $0.string() }
        sha1 = try unpacker.string()
        sha256 = try unpacker.string()
        spkiSHA256 = try unpacker.string()
    }
}
