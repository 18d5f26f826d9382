import Foundation

/// What the clocks on the wall show in one zone, and which instants that is.
///
/// A wall time is a number of seconds since 1970-01-01 00:00 on that wall, without a zone.
struct WallClock: Sendable {
    let zone: TimeZone

    /// The wall time at `instant`, to the whole second.
    func wall(at instant: Date) -> Int {
        Int(instant.timeIntervalSince1970.rounded(.down)) + zone.secondsFromGMT(for: instant)
    }

    /// The instants at which the wall shows `wall`: none where the clocks are put forward over it, two where they are put
    /// back over it.
    func instants(at wall: Int) -> [Date] {
        var found: [Date] = []
        // No zone has ever changed twice within the day before and the day after.
        for offset in Set([offset(around: wall - 86400), offset(around: wall + 86400)]).sorted(by: >) {
            let instant = Date(timeIntervalSince1970: TimeInterval(wall - offset))
            if zone.secondsFromGMT(for: instant) == offset { found.append(instant) }
        }
        return found
    }

    /// The first instant at which the wall shows `wall` or later: of a repeated time the first, of a missing one the
    /// instant at which the clocks are put forward.
    func firstInstant(at wall: Int) -> Date {
        if let first = instants(at: wall).first { return first }
        // The offset changes between these two, from the smaller to the larger.
        let offsets = [offset(around: wall - 86400), offset(around: wall + 86400)]
        var before = wall - max(offsets[0], offsets[1])
        var after = wall - min(offsets[0], offsets[1])
        while after - before > 1 {
            let middle = before + (after - before) / 2
            let instant = Date(timeIntervalSince1970: TimeInterval(middle))
            if middle + zone.secondsFromGMT(for: instant) < wall { before = middle } else { after = middle }
        }
        return Date(timeIntervalSince1970: TimeInterval(after))
    }

    private func offset(around wall: Int) -> Int {
        zone.secondsFromGMT(for: Date(timeIntervalSince1970: TimeInterval(wall)))
    }
}

/// A day of the (proleptic Gregorian) calendar.
struct CalendarDay: Sendable, Hashable {
    /// Since 1970-01-01.
    let number: Int
    let month: Int
    let dayOfMonth: Int
    /// 0 is Sunday.
    let weekday: Int
    let isLastOfMonth: Bool
    /// Whether the same weekday does not come again in the month.
    let isLastWeekdayOfMonth: Bool

    init(number: Int) {
        func parts(_ number: Int) -> tm {
            var time = time_t(number * 86400)
            var result = tm()
            gmtime_r(&time, &result)
            return result
        }
        let today = parts(number)
        self.number = number
        month = Int(today.tm_mon) + 1
        dayOfMonth = Int(today.tm_mday)
        weekday = Int(today.tm_wday)
        isLastOfMonth = parts(number + 1).tm_mday == 1
        isLastWeekdayOfMonth = parts(number + 7).tm_mon != today.tm_mon
    }

    /// The day of a wall time.
    init(wall: Int) { self.init(number: Int((Double(wall) / 86400).rounded(.down))) }
}
