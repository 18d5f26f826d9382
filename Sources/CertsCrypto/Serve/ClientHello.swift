internal import COpenSSL
import Foundation

/// What a client asks for before anything is answered (RFC 8446 §4.1.2).
package struct ClientHello: Sendable, Hashable {
    /// The server name of the hello (RFC 6066 §3), lower case; `nil`: none, or bytes that are no name.
    package var serverName: String?
    /// The protocols that the client offers (RFC 7301), in its order; what is not ASCII is left out.
    package var protocols: [String]

    package init(serverName: String? = nil, protocols: [String] = []) {
        self.serverName = serverName
        self.protocols = protocols
    }

    /// Reads the hello that `session` is looking at; only valid inside of OpenSSL's callback for it.
    init(lookingAt session: OpaquePointer) {
        self.init(
            serverName: Self.serverName(in: Self.extension(TLSEXT_TYPE_server_name, of: session)),
            protocols: Self.protocols(
                in: Self.extension(TLSEXT_TYPE_application_layer_protocol_negotiation, of: session)))
    }

    private static func `extension`(_ type: Int32, of session: OpaquePointer) -> [UInt8] {
        var start: UnsafePointer<UInt8>?
        var count = 0
        guard SSL_client_hello_get0_ext(session, UInt32(type), &start, &count) == 1, let start else { return [] }
        return Array(UnsafeBufferPointer(start: start, count: count))
    }

    /// The first host name of a ServerNameList; `nil` for what does not parse, or is longer than a DNS name.
    static func serverName(in bytes: [UInt8]) -> String? {
        var list = bytes[...]
        guard let entries = list.vector(lengthBytes: 2), list.isEmpty else { return nil }
        var rest = entries
        while let type = rest.popFirst(), let name = rest.vector(lengthBytes: 2) {
            guard type == 0 else { continue }
            guard !name.isEmpty, name.count <= 253, name.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else { return nil }
            return String(decoding: name, as: UTF8.self).lowercased()
        }
        return nil
    }

    /// The names of a ProtocolNameList, as far as it parses.
    static func protocols(in bytes: [UInt8]) -> [String] {
        var list = bytes[...]
        guard var rest = list.vector(lengthBytes: 2), list.isEmpty else { return [] }
        var names: [String] = []
        while !rest.isEmpty, let name = rest.vector(lengthBytes: 1), names.count < 64 {
            guard !name.isEmpty, name.allSatisfy({ $0 >= 0x20 && $0 < 0x7f }) else { continue }
            names.append(String(decoding: name, as: UTF8.self))
        }
        return names
    }
}

extension ArraySlice<UInt8> {
    /// Takes a vector with its length in front (RFC 8446 §3.4); `nil`, and nothing is taken, where it is cut off.
    fileprivate mutating func vector(lengthBytes: Int) -> ArraySlice<UInt8>? {
        guard count >= lengthBytes else { return nil }
        let length = prefix(lengthBytes).reduce(0) { $0 << 8 | Int($1) }
        guard count - lengthBytes >= length else { return nil }
        let value = dropFirst(lengthBytes).prefix(length)
        self = dropFirst(lengthBytes + length)
        return value
    }
}
