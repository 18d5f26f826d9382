internal import CLDNS
import CertsCore
import Foundation

/// A DNS message, owned.
struct Packet: ~Copyable {
    let pointer: UnsafeMutablePointer<ldns_pkt>

    init(owning pointer: UnsafeMutablePointer<ldns_pkt>) { self.pointer = pointer }

    /// An empty message with a fresh identifier that nobody can guess (RFC 5452 §9.2).
    init?() {
        guard let packet = ldns_pkt_new() else { return nil }
        pointer = packet
        ldns_pkt_set_id(packet, UInt16.random(in: .min ... .max))
    }

    /// Parses what came from the network; `nil` if it is no message. Sizes and pointers of names are checked by ldns.
    init?(parsing wire: [UInt8]) {
        var packet: UnsafeMutablePointer<ldns_pkt>?
        guard wire.count >= 12, wire.count <= 65535,
            ldns_wire2pkt(&packet, wire, wire.count) == LDNS_STATUS_OK, let packet
        else { return nil }
        pointer = packet
    }

    deinit { ldns_pkt_free(pointer) }

    /// A question (RFC 1035 §4.1); `nil` if the name is none.
    /// - Parameter announcedSize: what we take over UDP (RFC 6891 §6.2.3); `nil`: no EDNS, for servers that refuse it.
    static func query(_ question: DNSQuestion, recursive: Bool, announcedSize: UInt16?) -> Packet? {
        guard let packet = Packet(), let owner = Names.encode(question.name), let record = ldns_rr_new() else {
            return nil
        }
        ldns_rr_set_owner(record, owner)
        ldns_rr_set_type(record, question.type.code)
        ldns_rr_set_class(record, LDNS_RR_CLASS_IN)
        ldns_rr_set_question(record, true)
        guard packet.append(record, to: LDNS_SECTION_QUESTION) else { return nil }
        ldns_pkt_set_rd(packet.pointer, recursive)
        if let announcedSize { ldns_pkt_set_edns_udp_size(packet.pointer, announcedSize) }
        return packet
    }

    /// Takes over the record in any case.
    func append(_ record: UnsafeMutablePointer<ldns_rr>, to section: ldns_pkt_section) -> Bool {
        guard ldns_pkt_push_rr(pointer, section, record) else {
            ldns_rr_free(record)
            return false
        }
        return true
    }

    var wire: [UInt8]? {
        var bytes: UnsafeMutablePointer<UInt8>?
        var count = 0
        guard ldns_pkt2wire(&bytes, pointer, &count) == LDNS_STATUS_OK, let bytes else { return nil }
        defer { free(bytes) }
        return Array(UnsafeBufferPointer(start: bytes, count: count))
    }

    var identifier: UInt16 { ldns_pkt_id(pointer) }
    var isResponse: Bool { ldns_pkt_qr(pointer) }
    /// The code of the header with the upper bits of EDNS (RFC 6891 §6.1.3).
    var responseCode: Int {
        Int(ldns_pkt_get_rcode(pointer).rawValue) | Int(ldns_pkt_edns_extended_rcode(pointer)) << 4
    }

    /// Whether this answers `question`: servers may leave the question out of an error.
    func answers(_ question: DNSQuestion) -> Bool {
        let questions = Self.rows(ldns_pkt_question(pointer))
        guard let asked = questions.first else { return responseCode != 0 }
        return questions.count == 1 && ldns_rr_get_type(asked) == question.type.code
            && ldns_rr_get_class(asked) == LDNS_RR_CLASS_IN && Names.decode(ldns_rr_owner(asked)) == question.name
    }

    /// What it says, if its code is NOERROR or NXDOMAIN.
    func answer(noSuchName: Bool) -> DNSAnswer {
        let records = Self.rows(ldns_pkt_answer(pointer)).compactMap { DNSRecord(parsing: $0) }
        let authority = Self.rows(ldns_pkt_authority(pointer)).compactMap { DNSRecord(parsing: $0) }
        return DNSAnswer(
            outcome: noSuchName ? .noSuchName : records.isEmpty ? .noData : .records, records: records,
            authority: authority, isAuthoritative: ldns_pkt_aa(pointer))
    }

    private static func rows(_ list: UnsafeMutablePointer<ldns_rr_list>?) -> [UnsafeMutablePointer<ldns_rr>] {
        guard let list else { return [] }
        return (0..<ldns_rr_list_rr_count(list)).compactMap { ldns_rr_list_rr(list, $0) }
    }
}

/// Domain names between text and ldns.
enum Names {
    /// The caller owns the result; `nil` if the text is no domain name.
    static func encode(_ name: String) -> UnsafeMutablePointer<ldns_rdf>? {
        guard name.utf8.count <= 1024, !name.utf8.contains(0) else { return nil }
        var result: UnsafeMutablePointer<ldns_rdf>?
        guard ldns_str2rdf_dname(&result, name + ".") == LDNS_STATUS_OK else { return nil }
        return result
    }

    static func decode(_ name: UnsafePointer<ldns_rdf>?) -> String? {
        guard let name, let text = ldns_rdf2str(name) else { return nil }
        defer { free(text) }
        return DomainText.canonical(String(cString: text))
    }
}

extension DNSRecordType {
    var code: ldns_rr_type {
        switch self {
        case .a: LDNS_RR_TYPE_A
        case .aaaa: LDNS_RR_TYPE_AAAA
        case .caa: LDNS_RR_TYPE_CAA
        case .cname: LDNS_RR_TYPE_CNAME
        case .ns: LDNS_RR_TYPE_NS
        case .soa: LDNS_RR_TYPE_SOA
        case .txt: LDNS_RR_TYPE_TXT
        }
    }
}
