package import Foundation

/// Who is told of what (`notifications:` of the configuration).
package struct NotificationsDeclaration: Sendable, Hashable {
    package var channels: [ChannelDeclaration]
    /// When the digest is due: minutes after midnight, UTC.
    package var digestMinute: Int

    package init(channels: [ChannelDeclaration] = [], digestMinute: Int = 7 * 60) {
        self.channels = channels
        self.digestMinute = digestMinute
    }

    /// The last time at or before `date` at which the digest was due.
    package func digestTime(before date: Date) -> Date {
        let day = (date.timeIntervalSince1970 / 86400).rounded(.down) * 86400
        let today = Date(timeIntervalSince1970: day + TimeInterval(digestMinute) * 60)
        return today <= date ? today : today.addingTimeInterval(-86400)
    }
}

/// One way to tell somebody.
package struct ChannelDeclaration: Sendable, Hashable {
    package var name: Name
    package var kind: Kind
    package var events: Set<NotificationEvent>

    package enum Kind: Sendable, Hashable {
        /// `https`, or `http` to a loopback address.
        case webhook(url: String, secretFile: String?, caFile: String?)
        case email(EmailDeclaration)
        /// The message comes on standard input; `timeout` in seconds.
        case command([String], timeout: TimeInterval)
    }

    package init(name: Name, kind: Kind, events: Set<NotificationEvent> = NotificationEvent.usual) {
        self.name = name
        self.kind = kind
        self.events = events
    }

    /// The word in `type:`.
    package var typeName: String {
        switch kind {
        case .webhook: "webhook"
        case .email: "email"
        case .command: "command"
        }
    }
}

/// A mailbox and the server that takes mail for it.
package struct EmailDeclaration: Sendable, Hashable {
    package var host: String
    package var port: Int
    package var security: Security
    /// Plain addresses, checked: no white space, no line breaks.
    package var from: String
    package var to: [String]
    package var user: String?
    package var passwordFile: String?
    package var caFile: String?

    package enum Security: String, Sendable, Hashable, CaseIterable {
        /// Only to a loopback address.
        case none
        /// RFC 3207; without it nothing is sent.
        case startTLS = "starttls"
        /// TLS from the first byte (RFC 8314 §3.3).
        case implicit
    }

    package init(
        host: String, port: Int, security: Security, from: String, to: [String], user: String? = nil,
        passwordFile: String? = nil, caFile: String? = nil
    ) {
        self.host = host
        self.port = port
        self.security = security
        self.from = from
        self.to = to
        self.user = user
        self.passwordFile = passwordFile
        self.caFile = caFile
    }
}

/// Whether nothing sent to this host leaves the machine.
package enum Loopback {
    /// - Parameter host: a name or an address, without brackets.
    package static func contains(_ host: String) -> Bool {
        if host.lowercased() == "localhost" { return true }
        guard let address = IPAddress(host) else { return false }
        if address.isIPv6 { return address.bytes == Array(repeating: 0, count: 15) + [1] }
        return address.bytes.first == 127
    }
}
