internal import CLDNS
package import CertsCore
import Foundation

/// A secret that we share with a DNS server: signs what we send, and proves that the answer is the server's (TSIG,
/// RFC 8945).
package struct TransactionKey: Sendable {
    package let name: String
    package let algorithm: DNSProvider.TransactionKey.Algorithm
    /// Base64 text, as the server's configuration has it.
    private let secret: Secret

    /// How far the clocks may be apart, in seconds (§10 recommends 300).
    private static let fudge: UInt16 = 300

    /// - Throws: `configuration.invalid` if the name or the secret is none.
    package init(
        name: String, algorithm: DNSProvider.TransactionKey.Algorithm = .hmacSHA256, secret: Secret
    ) throws(CertsError) {
        self.name = DomainText.canonical(name)
        self.algorithm = algorithm
        self.secret = secret
        // ldns looks at neither.
        let isText = secret.withBytes { bytes in
            bytes.count >= 4 && bytes.count % 4 == 0 && bytes.allSatisfy { Self.isBase64($0) }
        }
        guard isText, let encoded = Names.encode(self.name) else {
            throw CertsError(
                .configurationInvalid, "the TSIG key '\(TerminalText.sanitized(name, limit: 300))' cannot be used",
                subject: name,
                hint: "give its name as the server has it, and in the file the secret alone, in base64 (tsig-keygen)"
            )
        }
        ldns_rdf_deep_free(encoded)
    }

    private static func isBase64(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "/"), UInt8(ascii: "="):
            true
        default: false
        }
    }

    /// The signature of what we sent: the answer's signature covers it (§5.3).
    struct Proof {
        fileprivate let mac: [UInt8]
    }

    /// Adds the signature to the message; nothing may be added to it afterwards.
    func sign(_ packet: borrowing Packet) throws(CertsError) -> Proof {
        let status = withSecretText {
            ldns_pkt_tsig_sign(packet.pointer, name + ".", $0, Self.fudge, wireAlgorithm, nil)
        }
        guard status == LDNS_STATUS_OK, let record = ldns_pkt_tsig(packet.pointer), let mac = ldns_rr_rdf(record, 3),
            let bytes = ldns_rdf_data(mac)
        else {
            throw CertsError(
                .dnsFailed, "an update cannot be signed with the TSIG key '\(name)' (\(algorithm.rawValue))",
                subject: name, hint: "check the secret of the key")
        }
        return Proof(mac: Array(UnsafeBufferPointer(start: bytes, count: ldns_rdf_size(mac))))
    }

    /// Whether the server signed `packet`, whose bytes are `wire`, in answer to what `proof` signed.
    func verifies(_ packet: borrowing Packet, _ wire: [UInt8], _ proof: Proof, now: Date) -> Bool {
        // ldns takes any algorithm and any time.
        guard let record = packet.transactionSignature, record.algorithm == wireAlgorithm, record.owner == name,
            abs(now.timeIntervalSince1970 - Double(record.time)) <= Double(Self.fudge)
        else { return false }
        guard let mac = ldns_rdf_new_frm_data(LDNS_RDF_TYPE_INT16_DATA, proof.mac.count, proof.mac) else {
            return false
        }
        defer { ldns_rdf_deep_free(mac) }
        return withSecretText { ldns_pkt_tsig_verify(packet.pointer, wire, wire.count, name + ".", $0, mac) }
    }

    private var wireAlgorithm: String { algorithm.rawValue + "." }

    /// Lends the secret as a C string; the copy is cleansed.
    private func withSecretText<Result>(_ body: (UnsafePointer<CChar>) -> Result) -> Result {
        var text = [CChar](repeating: 0, count: secret.count + 1)
        defer {
            text.withUnsafeMutableBytes { bytes in
                if let base = bytes.baseAddress { explicit_bzero(base, bytes.count) }
            }
        }
        secret.withBytes { bytes in
            for (index, byte) in bytes.enumerated() { text[index] = CChar(bitPattern: byte) }
        }
        return body(text)
    }
}

/// The fields of a TSIG record (RFC 8945 §4.2).
struct TransactionSignature {
    var owner: String
    /// With its trailing dot.
    var algorithm: String
    /// Seconds since 1970.
    var time: UInt64
    var error: Int
    /// With BADTIME: the server's time.
    var otherTime: UInt64?
}

extension Packet {
    /// `nil` where there is none, or none with all its fields.
    var transactionSignature: TransactionSignature? {
        guard let record = ldns_pkt_tsig(pointer), ldns_rr_rd_count(record) == 7,
            let owner = Names.decode(ldns_rr_owner(record)), let algorithm = Names.decode(ldns_rr_rdf(record, 0)),
            let time = bytes(record, 1), time.count == 6, let error = bytes(record, 5), error.count == 2
        else { return nil }
        let other = bytes(record, 6) ?? []
        // Two bytes of length, then 48 bits.
        return TransactionSignature(
            owner: owner, algorithm: algorithm + ".", time: Self.number(time), error: Int(Self.number(error)),
            otherTime: other.count == 8 ? Self.number(other.dropFirst(2)) : nil)
    }

    private func bytes(_ record: UnsafeMutablePointer<ldns_rr>, _ index: Int) -> [UInt8]? {
        guard let field = ldns_rr_rdf(record, index), let data = ldns_rdf_data(field) else { return nil }
        return Array(UnsafeBufferPointer(start: data, count: ldns_rdf_size(field)))
    }

    private static func number(_ bytes: some Sequence<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
}
