import CertsCore
import CertsDNS
import Foundation

/// Writes single TXT values, however the DNS is changed here.
protocol DNSRecordWriter: Sendable {
    /// Adds `value` beside the others at `name`; twice is the same as once.
    func add(_ value: String, at name: String) async throws
    /// Takes `value` away and leaves the others; what is not there is no error.
    func remove(_ value: String, at name: String) async throws
}

extension DNSProvider {
    /// What writes through this provider. Secrets are read from their files each time, so that they may be replaced.
    var writer: any DNSRecordWriter {
        switch self {
        case .rfc2136(let server, let zone, let key): DynamicUpdateWriter(server: server, zone: zone, key: key)
        case .command(let arguments, let timeout): CommandWriter(arguments: arguments, timeout: timeout)
        case .webhook(let url, let tokenFile, let caFile): WebhookWriter(url: url, tokenFile: tokenFile, caFile: caFile)
        }
    }
}

/// RFC 2136 with TSIG.
struct DynamicUpdateWriter: DNSRecordWriter {
    let server: SocketAddress
    let zone: String?
    let key: DNSProvider.TransactionKey?

    func add(_ value: String, at name: String) async throws { try await update().add(value, at: name) }
    func remove(_ value: String, at name: String) async throws { try await update().delete(value, at: name) }

    private func update() async throws -> DynamicUpdate {
        guard let key else { return DynamicUpdate(server: server, zone: zone) }
        let secret = try await BlockingPool.shared.run {
            try SecretFile.read(key.secretFile, what: "the secret of the TSIG key '\(key.name)'")
        }
        return DynamicUpdate(
            server: server, zone: zone,
            key: try TransactionKey(name: key.name, algorithm: key.algorithm, secret: secret))
    }
}
