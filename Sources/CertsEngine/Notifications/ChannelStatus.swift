import CertsCore
package import Foundation

extension StatusReport {
    /// How one channel is doing.
    package struct Channel: Sendable, Encodable {
        package var channel: String
        package var type: String
        package var sent: Int
        package var failures: Int
        package var consecutiveFailures: Int
        /// Messages that wait.
        package var pending: Int
        @OrNull package var lastSuccessAt: Date?
        @OrNull package var lastFailureAt: Date?
        /// Why it fails; `null` once it has taken a message.
        @OrNull package var lastError: String?
    }
}

extension RotationEngine {
    /// The declared channels, in the order of the configuration.
    package func channelStatus() async throws -> [StatusReport.Channel] {
        let records = try await context.notifications?.channelRecords() ?? []
        return context.declarations.notifications.channels.map { declared in
            let record = records.first { $0.channel == declared.name } ?? ChannelRecord(channel: declared.name)
            return StatusReport.Channel(
                channel: declared.name.rawValue, type: declared.typeName, sent: record.sent, failures: record.failures,
                consecutiveFailures: record.consecutiveFailures, pending: record.pending,
                lastSuccessAt: record.lastSuccessAt, lastFailureAt: record.lastFailureAt,
                lastError: record.consecutiveFailures > 0 ? record.lastError : nil)
        }
    }
}
