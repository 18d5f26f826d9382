import CertsCore
import CertsNotify
import Foundation
import Yams

// `notifications:`.
extension ConfigurationReader {
    private enum ChannelType: String, CaseIterable {
        case webhook, email, command

        var keys: [String] {
            let own =
                switch self {
                case .webhook: ["url", "secretFile", "caFile"]
                case .email: ["server", "tls", "from", "to", "user", "passwordFile", "caFile"]
                case .command: ["run", "timeout"]
                }
            return ["name", "type", "on"] + own
        }
    }

    mutating func notifications(_ top: ConfigurationBlock) -> NotificationsDeclaration {
        var result = NotificationsDeclaration()
        guard let block = top.block("notifications", keys: ["digestAt", "channels"]) else { return result }
        if let text = block.text("digestAt") {
            if let minute = ConfigurationValue.minuteOfDay(text.value) {
                result.digestMinute = minute
            } else {
                problems.add(
                    text.mark, "'\(TerminalText.sanitized(text.value, limit: 80))' is not a time of day",
                    "write it in UTC as \"07:00\"")
            }
        }
        for node in block.list("channels", "[ { name: ops, type: webhook, url: https://… } ]") {
            if let channel = channel(node) { result.channels.append(channel) }
        }
        return result
    }

    private mutating func channel(_ node: Node) -> ChannelDeclaration? {
        guard let type = typeWord(node, "a channel", ChannelType.self, "a type of channel"),
            let block = ConfigurationBlock(node, "a channel", keys: type.keys, problems)
        else { return nil }
        let name = declare(
            block.requiredText("name", "write a name: it is in messages and metrics"), "channel", in: \.channelNames)
        let kind =
            switch type {
            case .webhook: webhook(block)
            case .email: email(block)
            case .command: command(block)
            }
        let events = events(block)
        guard let name, let kind else { return nil }
        return ChannelDeclaration(name: name, kind: kind, events: events)
    }

    private func events(_ block: ConfigurationBlock) -> Set<NotificationEvent> {
        guard block.node("on") != nil else { return NotificationEvent.usual }
        return Set(
            block.texts("on", "[failed, rolledBack]").compactMap { word($0, "an event", NotificationEvent.self) })
    }

    private func webhook(_ block: ConfigurationBlock) -> ChannelDeclaration.Kind? {
        guard let text = block.requiredText("url", "write the https address that takes the messages") else {
            return nil
        }
        let isPlain = text.value.lowercased().hasPrefix("http://") && WebhookChannel.isAllowed(text.value)
        guard isPlain || secureURL(text, "the url of a channel") != nil else { return nil }
        return .webhook(url: text.value, secretFile: file(block, "secretFile"), caFile: file(block, "caFile"))
    }

    private func command(_ block: ConfigurationBlock) -> ChannelDeclaration.Kind? {
        guard let arguments = programLine(block, "run", "[/usr/local/bin/tell]") else { return nil }
        return .command(arguments, timeout: block.duration("timeout", 1...300) ?? 30)
    }

    private func email(_ block: ConfigurationBlock) -> ChannelDeclaration.Kind? {
        let server = block.requiredText("server", "write the mail server: smtp.example.com:587").flatMap {
            mailServer($0)
        }
        let from = block.requiredText("from", "write the address of the sender").flatMap { address($0) }
        let to = block.texts("to", "[ops@example.com]").compactMap { address($0) }
        if to.isEmpty { block.missing("to", "write the recipients as a list: [ops@example.com]") }
        guard let server, let from, !to.isEmpty else { return nil }
        var email = EmailDeclaration(
            host: server.host, port: server.port, security: defaultSecurity(server), from: from, to: to)
        if let text = block.text("tls"),
            let security = word(text, "a kind of encryption", EmailDeclaration.Security.self)
        {
            email.security = security
            if security == .none, !Loopback.contains(email.host) {
                problems.add(
                    text.mark, "mail to \(email.host) would go in the clear", "write 'tls: starttls' or 'tls: implicit'"
                )
                return nil
            }
        }
        (email.user, email.passwordFile) = (block.text("user")?.value, file(block, "passwordFile"))
        email.caFile = file(block, "caFile")
        guard (email.user == nil) == (email.passwordFile == nil) else {
            block.missing(email.user == nil ? "user" : "passwordFile", "the server wants both, or neither")
            return nil
        }
        return .email(email)
    }

    private func defaultSecurity(_ server: (host: String, port: Int)) -> EmailDeclaration.Security {
        if server.port == 465 { return .implicit }
        return Loopback.contains(server.host) ? .none : .startTLS
    }

    private func address(_ text: Located<String>) -> String? {
        do {
            return try ConfigurationValue.email(text.value)
        } catch {
            problems.add(text.mark, error.message, error.hint ?? "correct it")
            return nil
        }
    }

    /// `HOST`, `HOST:PORT`, `[IPV6]:PORT`; without a port it is 587 (RFC 6409).
    private func mailServer(_ text: Located<String>) -> (host: String, port: Int)? {
        let bare = text.value.hasPrefix("[") ? String(text.value.dropFirst().prefix { $0 != "]" }) : text.value
        if IPAddress(bare) != nil, bare == text.value || text.value == "[\(bare)]" { return (bare, 587) }
        if let listener = ConfigurationValue.listener(text.value), listener.port > 0 {
            return (listener.host, listener.port)
        }
        if !text.value.contains(":"), let name = try? DNSName.canonical(text.value), !name.hasPrefix("*") {
            return (name, 587)
        }
        problems.add(
            text.mark, "'\(TerminalText.sanitized(text.value, limit: 80))' is not a mail server",
            "write HOST or HOST:PORT: smtp.example.com:587")
        return nil
    }
}

extension ConfigurationValue {
    /// Minutes after midnight of `07:00`.
    static func minuteOfDay(_ text: String) -> Int? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy({ $0.count == 2 && $0.utf8.allSatisfy { (48...57).contains($0) } }),
            let hour = Int(parts[0]), let minute = Int(parts[1]), hour < 24, minute < 60
        else { return nil }
        return hour * 60 + minute
    }
}
