package import Foundation

/// Sends messages one way; implemented in CertsNotify.
package protocol NotificationChannel: Sendable {
    /// Returns once the other side has taken the message. Has a deadline of its own.
    /// - Throws: `notification.failed` and what reading a secret throws.
    func send(_ message: NotificationMessage) async throws
}

/// What was told to whom, and what is still to be sent; implemented in CertsStore.
///
/// A message is kept from its making until the other side has taken it, and only then counts as told. So a message is
/// sent at least once, whenever the process dies; the second time with the same id.
package protocol NotificationStore: Sendable {
    /// The troubles that each certificate's last message to the channel left it with.
    func told(to channel: Name) async throws -> [Name: Set<Trouble>]
    /// Changes that need no message.
    func setTold(_ changes: [ToldChange], to channel: Name) async throws
    func channelRecords() async throws -> [ChannelRecord]
    /// When a digest was last made for the channel.
    func setDigest(_ date: Date, of channel: Name) async throws
    /// Keeps the message to be sent.
    /// - Returns: `false`, and nothing is kept: one of its kind already waits for this channel.
    func enqueue(_ message: PendingMessage) async throws -> Bool
    /// The messages whose next attempt is not after `date`, oldest first; `nil`: all.
    func pendingMessages(by date: Date?) async throws -> [PendingMessage]
    /// The message was taken: what it said counts as told, in one transaction.
    func confirm(_ message: PendingMessage, at date: Date) async throws
    /// The message was not taken.
    /// - Parameter next: when it is tried again; `nil`: not any more.
    func postpone(_ message: PendingMessage, because reason: String, at date: Date, until next: Date?) async throws
    /// Forgets the channels that are not among these.
    func forgetChannels(except names: Set<Name>) async throws
}

/// A certificate's troubles as they are told; none: it is forgotten.
package struct ToldChange: Sendable, Hashable, Codable {
    package var certificate: Name
    package var troubles: Set<Trouble>

    package init(certificate: Name, troubles: Set<Trouble>) {
        self.certificate = certificate
        self.troubles = troubles
    }
}

/// A message that waits for its channel.
package struct PendingMessage: Sendable, Hashable {
    package var channel: Name
    package var message: NotificationMessage
    /// What counts as told once it is sent.
    package var told: [ToldChange]
    /// How often it was tried.
    package var attempts: Int
    package var nextAttemptAt: Date

    package init(
        channel: Name, message: NotificationMessage, told: [ToldChange] = [], attempts: Int = 0, nextAttemptAt: Date
    ) {
        self.channel = channel
        self.message = message
        self.told = told
        self.attempts = attempts
        self.nextAttemptAt = nextAttemptAt
    }
}

/// How one channel is doing.
package struct ChannelRecord: Sendable, Hashable {
    package var channel: Name
    /// Attempts that failed, ever.
    package var failures = 0
    /// Since the last message that was taken.
    package var consecutiveFailures = 0
    package var sent = 0
    package var lastSuccessAt: Date?
    package var lastFailureAt: Date?
    /// Of the last attempt that failed; fit for a terminal.
    package var lastError: String?
    package var digestAt: Date?
    /// Messages that wait.
    package var pending = 0

    package init(channel: Name) { self.channel = channel }
}
