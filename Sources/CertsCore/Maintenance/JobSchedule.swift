package import Foundation

/// When a job runs: a pure function from one instant to the next.
///
/// At a fixed local time: one that is missing, because the clocks are put forward over it, is the instant after the gap;
/// one that comes twice is the first of the two. What follows the time that passes (`every`, cron with `*` as minute or
/// hour) is not moved by that.
package struct JobSchedule: Sendable, Hashable {
    package enum Rule: Sendable, Hashable {
        /// Every so many seconds, counted from 1970 and not from a start of the program, so that a restart moves nothing.
        case every(TimeInterval)
        /// At these times of each day, in minutes since midnight.
        case daily([Int])
        /// On these days (0 is Sunday) at this time.
        case weekly(Set<Int>, Int)
        case cron(CronExpression)
    }

    package var rule: Rule
    package var zone: TimeZone
    /// The span over which the starts of different jobs and hosts are spread, in seconds; see ``delay(of:on:)``.
    package var jitter: TimeInterval

    package init(_ rule: Rule, zone: TimeZone = .gmt, jitter: TimeInterval = 0) {
        self.rule = rule
        self.zone = zone
        self.jitter = jitter
    }

    /// How many days are looked through for one that fits: 29 February may be eight years away, and its weekdays 40.
    private static let horizon = 41 * 366

    /// The first occurrence after `date`; `nil` if there is none within 40 years (30 February).
    package func next(after date: Date) -> Date? {
        switch rule {
        case .every(let period):
            guard period >= 1 else { return nil }
            let count = (date.timeIntervalSince1970 / period).rounded(.down)
            return Date(timeIntervalSince1970: (count + 1) * period)
        case .daily(let times): return next(after: date, at: times.sorted()) { _ in true }
        case .weekly(let days, let time): return next(after: date, at: [time]) { days.contains($0.weekday) }
        case .cron(let cron): return next(after: date, at: cron.times, cron.matches)
        }
    }

    private func next(after date: Date, at times: [Int], _ matches: (CalendarDay) -> Bool) -> Date? {
        guard !times.isEmpty else { return nil }
        let clock = WallClock(zone: zone)
        // A day earlier, because a repeated hour may belong to yesterday.
        let first = CalendarDay(wall: clock.wall(at: date)).number - 1
        for number in first..<(first + Self.horizon) where matches(CalendarDay(number: number)) {
            var found: Date?
            // No clock is ever put back by more than this, so that earlier wall times are past.
            let reached = clock.wall(at: date) - 3 * 3600
            for time in times where number * 86400 + time * 60 >= reached {
                let wall = number * 86400 + time * 60
                let instants = followsRealTime ? clock.instants(at: wall) : [clock.firstInstant(at: wall)]
                for instant in instants where instant > date { found = min(found ?? instant, instant) }
                // The later times of a day are only earlier than this one where an hour is repeated.
                if let found, instants.count == 1, !clock.changesOffset(around: wall) { return found }
            }
            if let found { return found }
        }
        return nil
    }

    /// The occurrences after `start` up to `end`, the last `limit` of them, ascending; and how many there are in all.
    package func occurrences(after start: Date, through end: Date, limit: Int) -> (last: [Date], count: Int) {
        if case .every(let period) = rule, period >= 1 {
            let (from, to) = (
                (start.timeIntervalSince1970 / period).rounded(.down),
                (end.timeIntervalSince1970 / period).rounded(.down)
            )
            guard to > from, to - from < 1e12 else { return ([], 0) }
            let count = Int(to - from)
            let last = (0..<min(limit, count)).reversed().map {
                Date(timeIntervalSince1970: (to - Double($0)) * period)
            }
            return (last, count)
        }
        var last: [Date] = []
        var count = 0
        var date = start
        // A machine that was off for years need not count each minute of them.
        while count < 100_000, let next = next(after: date), next <= end {
            last.append(next)
            if last.count > limit { last.removeFirst() }
            count += 1
            date = next
        }
        return (last, count)
    }

    /// Whether the clocks that are put forward and back do not move it.
    package var followsRealTime: Bool {
        switch rule {
        case .every: true
        case .daily, .weekly: false
        case .cron(let cron): cron.followsRealTime
        }
    }

    /// The longest time between two of the occurrences that come next, in seconds.
    package func longestGap(after now: Date) -> TimeInterval {
        var (longest, last) = (0.0, next(after: now))
        for _ in 0..<64 {
            guard let from = last, let to = next(after: from) else { break }
            (longest, last) = (max(longest, to.timeIntervalSince(from)), to)
        }
        return longest
    }

    /// By how much the start of each occurrence is put off, in seconds: always the same for one job on one host.
    package func delay(of job: Name, on host: String) -> TimeInterval {
        guard jitter > 0 else { return 0 }
        var hash = FNV1a.hash64("\(host)\u{0}\(job)".utf8)
        // Names that differ in their last letter alone have almost the same number: the finalizer of MurmurHash3 spreads them.
        hash = (hash ^ hash >> 33) &* 0xff51_afd7_ed55_8ccd
        hash = (hash ^ hash >> 33) &* 0xc4ce_b9fe_1a85_ec53
        hash ^= hash >> 33
        return jitter * (Double(hash & 0xffff_ffff) / 4_294_967_296)
    }
}

extension WallClock {
    /// Whether the clocks are changed within a day before or after `wall`.
    func changesOffset(around wall: Int) -> Bool {
        let offsets = [-86400, 86400].map {
            zone.secondsFromGMT(for: Date(timeIntervalSince1970: TimeInterval(wall + $0)))
        }
        return offsets[0] != offsets[1]
    }
}

extension JobSchedule.Rule: CustomStringConvertible {
    package var description: String {
        func time(_ minutes: Int) -> String {
            let (hour, minute) = (minutes / 60, minutes % 60)
            return "\(hour < 10 ? "0" : "")\(hour):\(minute < 10 ? "0" : "")\(minute)"
        }
        let names = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
        switch self {
        case .every(let seconds): return "every \(Int(seconds))s"
        case .daily(let times): return "daily \(times.map(time).joined(separator: ", "))"
        case .weekly(let days, let at):
            return "weekly \(days.sorted().filter { $0 < 7 }.map { names[$0] }.joined(separator: ", ")) \(time(at))"
        case .cron(let cron): return "cron \(cron)"
        }
    }
}
