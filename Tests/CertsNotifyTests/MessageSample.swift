import CertsCore
import Foundation

func sampleMessage(host: String = "edge-1", summary: String = "messenger: failed") throws -> NotificationMessage {
    NotificationMessage(
        id: "0b1f3c1e", kind: .changes, at: Date(timeIntervalSince1970: 1_800_000_000), host: host, summary: summary,
        changes: [
            .init(
                certificate: try Name("messenger"), event: .failed, message: "the CA is down",
                code: "issuer.unavailable",
                hint: "wait", notAfter: Date(timeIntervalSince1970: 1_800_100_000))
        ])
}
