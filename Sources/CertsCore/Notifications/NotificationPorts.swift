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
    /// Runs `body` in one transaction: what it decides by cannot change before what it decides is kept.
    func decide<Value: Sendable>(
        _ body: @escaping @Sendable (any NotificationLedger) throws -> Value
    ) async throws -> Value
    /// Counts whatever a decision may depend on: saved certificates, and messages that no longer wait. The same number as
    /// at the last decision: nothing has happened since.
    func changeCount() async throws -> Int
    func channelRecords() async throws -> [ChannelRecord]
    /// The messages that are due at `date`, oldest first; `nil`: all. One whose next attempt is further away than any is
    /// ever put off was kept by a clock that was ahead, and is due.
    func pendingMessages(to channel: Name?, by date: Date?) async throws -> [PendingMessage]
    /// The message was taken: what it said counts as told, in one transaction.
    func confirm(_ message: PendingMessage, at date: Date) async throws
    /// The message was not taken.
    /// - Parameter next: when it is tried again; `nil`: not any more.
    func postpone(_ message: PendingMessage, because reason: String, at date: Date, until next: Date?) async throws
    /// The channel took a message that was not kept: it works, and what rests after a failure is due at once.
    func markWorking(_ channel: Name, at date: Date) async throws
}

extension NotificationStore {
    /// The same for all channels.
    package func pendingMessages(by date: Date?) async throws -> [PendingMessage] {
        try await pendingMessages(to: nil, by: date)
    }
}

/// What a decision is made from, and what it leaves, within one transaction.
package protocol NotificationLedger {
    func compactMapStates<Value>(_ transform: (CertificateState) throws -> Value?) throws -> [Value]
    func changeCount() throws -> Int
    func records() throws -> [ChannelRecord]
    /// The troubles that each certificate's last message to the channel left it with.
    func told(to channel: Name) throws -> [Name: Set<Trouble>]
    /// Changes that need no message.
    func setTold(_ changes: [ToldChange], to channel: Name) throws
    /// When a digest was last made for the channel.
    func setDigest(_ date: Date, of channel: Name) throws
    /// Keeps the message to be sent.
    /// - Parameter isReplacing: a message of its kind that waits gives way.
    /// - Returns: `false`, and nothing is kept: one of its kind already waits for this channel.
    func enqueue(_ message: PendingMessage, isReplacing: Bool) throws -> Bool
    /// Notes that a configuration has these channels, and forgets those that none had for ``ChannelRecord/memory``: two
    /// configurations may share a state directory, and neither knows the other's.
    func declare(_ channels: Set<Name>, at now: Date) throws
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

    /// How long a channel is remembered that no configuration has any longer, in seconds.
    package static let memory: TimeInterval = 90 * 86400
}
