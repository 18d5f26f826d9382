import Foundation

/// Times as they stand in logs, announcements and reports: UTC, and said so.
enum UTC {
    static func parts(_ date: Date) -> tm {
        var time = time_t(date.timeIntervalSince1970.rounded(.down))
        var parts = tm()
        gmtime_r(&time, &parts)
        return parts
    }

    private static func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }

    /// `2025-12-04`.
    static func day(_ date: Date) -> String {
        let parts = parts(date)
        return "\(Int(parts.tm_year) + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
    }

    /// `02:45 UTC`.
    static func time(_ date: Date) -> String {
        let parts = parts(date)
        return "\(two(parts.tm_hour)):\(two(parts.tm_min)) UTC"
    }

    /// `2025-12-04 02:45 UTC`.
    static func text(_ date: Date) -> String { "\(day(date)) \(time(date))" }

    /// The first instant of a month; `nil` for a month that is none.
    static func month(_ year: Int, _ month: Int) -> Date? {
        guard (1...12).contains(month), (1970...9998).contains(year) else { return nil }
        var parts = tm()
        (parts.tm_year, parts.tm_mon, parts.tm_mday) = (Int32(year - 1900), Int32(month - 1), 1)
        return Date(timeIntervalSince1970: TimeInterval(timegm(&parts)))
    }

    static let monthNames = [
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
        "December",
    ]
}
