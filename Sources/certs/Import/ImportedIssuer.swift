import CertsCore
import CertsCrypto
import Foundation

/// An issuer as it is going to be declared.
struct ImportedIssuer: Sendable {
    let name: Name
    /// A word for a known CA, or the URL.
    let directory: String
    let caFile: String?
    let contact: [String]
    let client: ForeignClient
    /// Whether the account of the other client comes along: its terms were agreed to there.
    let hasAccount: Bool
    /// Of the first certificate: profile and preferred chain.
    let settings: ForeignSettings
    let challenges: [Challenge]

    struct Challenge: Sendable, Hashable {
        var method: Method
        /// Empty: for all.
        var names: [String]
        /// What a person has to look at.
        var remark: String?

        enum Method: Sendable, Hashable {
            case directory(String)
            case listen(String)
            case tlsALPN(String)
            case hook
        }
    }

    /// Behind HAProxy, which passes `/.well-known/acme-challenge/` on.
    private static let behindHAProxy = "127.0.0.1:8402"

    /// One challenge for each way, with its names where there are several ways.
    static func challenges(of certificates: [ForeignCertificate], client: ForeignClient) -> [Challenge] {
        var result: [Challenge] = []
        for certificate in certificates {
            let record = certificate.leaf.record
            let names = record.dnsNames.compactMap { try? DNSName.canonical($0) }
            var challenge = Self.challenge(
                certificate.settings.challenge, hasWildcard: names.contains { $0.hasPrefix("*.") }, client)
            challenge.names = record.ipAddresses.isEmpty ? names : []
            if let index = result.firstIndex(where: { $0.method == challenge.method && $0.remark == challenge.remark })
            {
                let isForAll = result[index].names.isEmpty || challenge.names.isEmpty
                result[index].names = isForAll ? [] : result[index].names + challenge.names
            } else {
                result.append(challenge)
            }
        }
        if result.count == 1 { result[0].names = [] }
        for index in result.indices { result[index].names = Array(Set(result[index].names)).sorted() }
        // Those for all names are asked last.
        return result.filter { !$0.names.isEmpty } + result.filter(\.names.isEmpty)
    }

    private static func challenge(
        _ found: ForeignChallenge?, hasWildcard: Bool, _ client: ForeignClient
    ) -> Challenge {
        func address(_ address: String?, _ port: Int?, _ usual: Int) -> String {
            let host = address.flatMap { IPAddress($0) }
            let port = port.flatMap { (1...65535).contains($0) ? $0 : nil } ?? usual
            return host.map { SocketAddress(address: $0, port: port).description } ?? "0.0.0.0:\(port)"
        }
        switch found {
        case .directory(let path) where !hasWildcard: return Challenge(method: .directory(path), names: [])
        case .http(let host, let port) where !hasWildcard:
            return Challenge(method: .listen(address(host, port, 80)), names: [])
        case .tlsALPN(let host, let port) where !hasWildcard:
            return Challenge(method: .tlsALPN(address(host, port, 443)), names: [])
        case .dns(let way):
            let shown = TerminalText.sanitized(way, limit: 60)
            return Challenge(
                method: .hook, names: [],
                remark: "\(client.rawValue) used '\(shown)': write a hook, or another provider")
        default:
            if hasWildcard {
                return Challenge(
                    method: .hook, names: [],
                    remark: "\(client.rawValue) does not say how it proves wildcards: write a hook, or another provider"
                )
            }
            return Challenge(
                method: .listen(behindHAProxy), names: [],
                remark: "\(client.rawValue) does not say how; this is for HAProxy in front")
        }
    }
}
