import CertsCore
import Foundation

/// The text of a mail (RFC 5322) about one message.
///
/// Nothing from outside stands in the header but the subject, and that is encoded: no text can begin a line there.
enum EmailText {
    static func make(_ message: NotificationMessage, from: String, to recipients: [String]) -> Data {
        let host = headerToken(message.host)
        let header = [
            "From: certs <\(from)>",
            "To: \(recipients.joined(separator: ",\r\n "))",
            "Subject: \(encoded(subject(message)))",
            "Date: \(date(message.at))",
            "Message-ID: <\(headerToken(message.id))@\(host)>",
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: base64",
        ]
        let text = Data(body(message).utf8).base64EncodedString(options: [
            .lineLength76Characters, .endLineWithCarriageReturn, .endLineWithLineFeed,
        ])
        return Data((header.joined(separator: "\r\n") + "\r\n\r\n" + text + "\r\n").utf8)
    }

    static func subject(_ message: NotificationMessage) -> String {
        TerminalText.sanitized("[certs \(message.host)] \(message.summary)", limit: 200)
    }

    static func body(_ message: NotificationMessage) -> String {
        var lines = [message.summary, ""]
        if let digest = message.digest {
            lines += [
                "\(digest.certificates) certificates: \(digest.healthy) well, \(digest.failing) failing, "
                    + "\(digest.overdue) overdue, \(digest.expired) expired, \(digest.waiting) waiting; "
                    + "\(digest.renewed) rotated in the last 24 hours"
            ]
            if let soonest = digest.soonest, let end = digest.soonestNotAfter {
                lines.append("the first to expire: \(soonest), \(end.formatted(.iso8601))")
            }
            lines.append("")
        }
        for change in message.changes {
            lines.append("\(change.certificate)  \(change.event.rawValue)  \(change.message)")
            if let hint = change.hint { lines.append("    next: \(hint)") }
            if let end = change.notAfter { lines.append("    expires: \(end.formatted(.iso8601))") }
        }
        if message.omitted > 0 { lines.append("and \(message.omitted) more: see `certs status`") }
        lines += ["", "-- ", "certs on \(message.host), \(message.at.formatted(.iso8601)), message \(message.id)"]
        return lines.map { TerminalText.sanitized($0) }.joined(separator: "\r\n") + "\r\n"
    }

    /// An encoded word (RFC 2047) for each piece of at most 45 bytes: 75 characters are the most that one may have.
    static func encoded(_ text: String) -> String {
        if text.utf8.count <= 60, text.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7f }), !text.contains("=?") {
            return text
        }
        var words: [String] = []
        var piece = ""
        for character in text.unicodeScalars {
            if piece.utf8.count + String(character).utf8.count > 45 {
                words.append(piece)
                piece = ""
            }
            piece.unicodeScalars.append(character)
        }
        words.append(piece)
        return words.map { "=?utf-8?B?\(Data($0.utf8).base64EncodedString())?=" }.joined(separator: "\r\n ")
    }

    /// RFC 5322 §3.3, UTC.
    static func date(_ date: Date) -> String {
        var time = time_t(date.timeIntervalSince1970.rounded(.down))
        var parts = tm()
        gmtime_r(&time, &parts)
        let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let clock = String(format: "%02d:%02d:%02d", parts.tm_hour, parts.tm_min, parts.tm_sec)
        return "\(days[Int(parts.tm_wday) % 7]), \(parts.tm_mday) \(months[Int(parts.tm_mon) % 12]) "
            + "\(parts.tm_year + 1900) \(clock) +0000"
    }

    private static func headerToken(_ text: String) -> String {
        let token = text.filter { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "." || $0 == "-") }
        return token.isEmpty ? "localhost" : String(token.prefix(200))
    }
}
