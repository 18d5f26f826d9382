import CertsCore
import Foundation

/// Times as the command line reads and prints them: RFC 3339, UTC, whole seconds.
enum Time {
    static func text(_ date: Date) -> String {
        let seconds = date.timeIntervalSince1970
        // Year 9999 is the last that RFC 3339 can write; RFC 5280 uses it for "no well-defined expiry".
        guard seconds > -62_135_596_800, seconds < 253_402_300_800 else {
            return seconds < 0 ? "0001-01-01T00:00:00Z" : "9999-12-31T23:59:59Z"
        }
        var time = time_t(seconds.rounded(.down))
        var parts = tm()
        gmtime_r(&time, &parts)
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let year = String(Int(parts.tm_year) + 1900)
        let padded = String(repeating: "0", count: max(0, 4 - year.count)) + year
        return
            "\(padded)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))T\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))Z"
    }

    /// Foundation calls UTC by the name of a place.
    static func name(of zone: TimeZone) -> String { zone.identifier == "GMT" ? "UTC" : zone.identifier }

    static func text(_ date: Date?) -> String { date.map { text($0) } ?? "-" }

    /// `in 12 d`, `in 5 h`, `in 7 min`, `now`, `3 d ago`: how far away, in the unit of which there are at least two.
    static func distance(to date: Date, from now: Date) -> String {
        let seconds = date.timeIntervalSince(now)
        let size = abs(seconds)
        guard size >= 60, size.isFinite else { return "now" }
        let (unit, length) = size >= 2 * 86400 ? ("d", 86400.0) : size >= 2 * 3600 ? ("h", 3600.0) : ("min", 60.0)
        let count = "\(Int(min(size / length, 9_999_999))) \(unit)"
        return seconds > 0 ? "in \(count)" : "\(count) ago"
    }

    /// `2029-06-01`, `2029-06-01T12:00:00Z`, `2029-06-01T12:00:00+02:00`, or seconds since 1970 after `@`.
    static func parse(_ text: String) throws(CertsError) -> Date {
        if text.hasPrefix("@"), let seconds = Double(text.dropFirst()), seconds.isFinite, abs(seconds) < 1e12 {
            return Date(timeIntervalSince1970: seconds)
        }
        let day = Date.ISO8601FormatStyle(timeZone: .gmt).year().month().day()
        if text.utf8.count == 10, let date = try? day.parse(text) { return date }
        if let date = try? Date.ISO8601FormatStyle(includingFractionalSeconds: false).parse(text) { return date }
        if let date = try? Date.ISO8601FormatStyle(includingFractionalSeconds: true).parse(text) { return date }
        throw CertsError(.usage, "'\(text)' is not a time", hint: "write it like 2029-06-01 or 2029-06-01T12:00:00Z")
    }
}
