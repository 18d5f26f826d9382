package import CertsCore

/// What the exposition says of the channels.
package enum NotificationMetrics {
    /// Every declared channel from 0 on; nothing where none is declared.
    package static func families(
        _ declaration: NotificationsDeclaration, _ records: [ChannelRecord]
    ) -> [MetricFamily] {
        guard !declaration.channels.isEmpty else { return [] }
        let known = Dictionary(records.map { ($0.channel, $0) }, uniquingKeysWith: { first, _ in first })
        return [
            MetricFamily(
                "certs_notification_failures_total", .counter,
                help: "Attempts to send a notification that failed.",
                samples: declaration.channels.map {
                    .init(Double(known[$0.name]?.failures ?? 0), ["channel": $0.name.rawValue])
                }),
            MetricFamily(
                "certs_notification_consecutive_failures", .gauge,
                help: "Attempts that failed since the channel last took a message.",
                samples: declaration.channels.map {
                    .init(Double(known[$0.name]?.consecutiveFailures ?? 0), ["channel": $0.name.rawValue])
                }),
        ]
    }
}
