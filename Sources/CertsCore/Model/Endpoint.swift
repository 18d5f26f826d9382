/// An address, port and server name that serves a certificate.
package struct Endpoint: Sendable, Hashable, Codable {
    /// A DNS name or an IP address without brackets.
    package var host: String
    package var port: Int
    /// The SNI to send and the name to check; `nil`: each name of the certificate in question.
    package var serverName: String?

    package init(host: String, port: Int, serverName: String? = nil) {
        self.host = host
        self.port = port
        self.serverName = serverName
    }

    /// `127.0.0.1:443`, `[::1]:443`.
    package var address: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// Parses `HOST:PORT` and `[IPV6]:PORT`.
    package init?(address: String, serverName: String? = nil) {
        guard let colon = address.lastIndex(of: ":"),
            let port = UInt16(address[address.index(after: colon)...]), port > 0
        else { return nil }
        var host = address[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            return nil
        }
        guard !host.isEmpty, host.utf8.count <= 253, !host.contains(where: \.isWhitespace) else { return nil }
        self.init(host: String(host), port: Int(port), serverName: serverName)
    }
}
