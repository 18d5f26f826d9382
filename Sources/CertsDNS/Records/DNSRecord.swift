package import CertsCore

/// The types of records that are asked for.
package enum DNSRecordType: String, Sendable, Hashable, CaseIterable {
    case a = "A"
    case aaaa = "AAAA"
    case caa = "CAA"
    case cname = "CNAME"
    case ns = "NS"
    case soa = "SOA"
    case txt = "TXT"
}

/// A record as a value. Names are lower case, without the trailing dot, odd bytes escaped (RFC 1035 §5.1).
package struct DNSRecord: Sendable, Hashable {
    package var name: String
    package var value: Value

    package init(name: String, value: Value) {
        self.name = name
        self.value = value
    }

    package enum Value: Sendable, Hashable {
        case address(IPAddress)
        case alias(String)
        case caa(CAARecord)
        case nameServer(String)
        /// The start of a zone, with its primary server.
        case zone(primary: String, serial: UInt32)
        /// The strings of one record, joined (RFC 7208 §3.3 and RFC 8555 §8.4 read them so); any bytes.
        case text([UInt8])
    }

    package var type: DNSRecordType {
        switch value {
        case .address(let address): address.isIPv6 ? .aaaa : .a
        case .alias: .cname
        case .caa: .caa
        case .nameServer: .ns
        case .zone: .soa
        case .text: .txt
        }
    }

    /// The text of a TXT record; bytes that are no UTF-8 are replaced.
    package var text: String? {
        guard case .text(let bytes) = value else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// Who may issue certificates for a name (RFC 8659 §4.1).
package struct CAARecord: Sendable, Hashable {
    package var flags: UInt8
    /// Lower case: tags are compared without regard to case (§4.1).
    package var tag: String
    package var value: String

    package init(flags: UInt8 = 0, tag: String, value: String) {
        self.flags = flags
        self.tag = tag.lowercased()
        self.value = value
    }

    /// A CA that does not know the tag must not issue.
    package var isCritical: Bool { flags & 0x80 != 0 }
}
