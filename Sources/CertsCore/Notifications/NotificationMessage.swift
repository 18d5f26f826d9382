package import Foundation

/// What a channel can be told of.
package enum NotificationEvent: String, Sendable, Hashable, Codable, CaseIterable {
    /// A rotation failed; nothing live was touched.
    case failed
    /// A deployment was taken back, or could not be taken back.
    case rolledBack
    /// The renewal should have happened by now, or the certificate has expired.
    case overdue
    /// A request waits for a person to bring the certificate.
    case handOffWaiting
    /// None of the above any longer.
    case recovered
    /// Once a day, how everything is.
    case digest

    /// What a channel is told of that does not say it.
    package static let usual: Set<NotificationEvent> = [.failed, .rolledBack, .overdue, .handOffWaiting, .recovered]
}

/// What is wrong with a certificate, as far as somebody is told of it. A certificate may have several.
package enum Trouble: String, Sendable, Hashable, Codable, CaseIterable {
    case failed, rolledBack, rollbackFailed, overdue, handOffWaiting

    package var event: NotificationEvent {
        switch self {
        case .failed: .failed
        case .rolledBack, .rollbackFailed: .rolledBack
        case .overdue: .overdue
        case .handOffWaiting: .handOffWaiting
        }
    }
}

/// One message to one channel; the JSON of a webhook and of a command is this value.
package struct NotificationMessage: Sendable, Hashable, Codable {
    package var schema = 1
    /// The same each time that the message is sent: a receiver can drop what it has.
    package var id: String
    package var kind: Kind
    package var at: Date
    package var host: String
    /// One line.
    package var summary: String
    package var changes: [Change]
    /// How many changes are not listed, because there are too many.
    package var omitted: Int
    /// Of a digest only.
    package var digest: Digest?

    package enum Kind: String, Sendable, Hashable, Codable {
        case changes, digest, test
    }

    /// What happened to one certificate. Texts are fit for a terminal.
    package struct Change: Sendable, Hashable, Codable {
        package var certificate: Name
        package var event: NotificationEvent
        package var message: String
        package var code: String?
        package var hint: String?
        package var notAfter: Date?
        package var dueAt: Date?

        package init(
            certificate: Name, event: NotificationEvent, message: String, code: String? = nil, hint: String? = nil,
            notAfter: Date? = nil, dueAt: Date? = nil
        ) {
            self.certificate = certificate
            self.event = event
            self.message = message
            self.code = code
            self.hint = hint
            self.notAfter = notAfter
            self.dueAt = dueAt
        }

        /// Unknown is `null`: each field is always there.
        package func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(certificate, forKey: .certificate)
            try container.encode(event, forKey: .event)
            try container.encode(message, forKey: .message)
            try container.encode(code, forKey: .code)
            try container.encode(hint, forKey: .hint)
            try container.encode(notAfter, forKey: .notAfter)
            try container.encode(dueAt, forKey: .dueAt)
        }
    }

    /// How many certificates are in which state.
    package struct Digest: Sendable, Hashable, Codable {
        package var certificates = 0
        package var healthy = 0
        package var failing = 0
        package var overdue = 0
        package var expired = 0
        package var waiting = 0
        /// Successful rotations' certificates in the last 24 hours.
        package var renewed = 0
        package var soonest: String?
        package var soonestNotAfter: Date?

        package init() {}
    }

    package init(
        id: String, kind: Kind, at: Date, host: String, summary: String, changes: [Change] = [], omitted: Int = 0,
        digest: Digest? = nil
    ) {
        self.id = id
        self.kind = kind
        self.at = at
        self.host = host
        self.summary = summary
        self.changes = changes
        self.omitted = omitted
        self.digest = digest
    }
}
