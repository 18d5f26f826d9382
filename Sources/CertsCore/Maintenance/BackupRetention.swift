package import Foundation

/// How many backups are kept: the newest of each of the last days, weeks and months that have one. UTC; weeks as in ISO 8601.
package struct BackupRetention: Sendable, Hashable {
    package var daily: Int
    package var weekly: Int
    package var monthly: Int

    /// So many of the newest are kept whatever the numbers say.
    package static let least = 2

    package init(daily: Int = 7, weekly: Int = 5, monthly: Int = 12) {
        self.daily = daily
        self.weekly = weekly
        self.monthly = monthly
    }

    /// Those of `times` that are kept.
    package func kept(of times: [Date]) -> Set<Date> {
        let newestFirst = Set(times).sorted(by: >)
        var calendar = Calendar(identifier: .iso8601)
        calendar.timeZone = .gmt
        var kept = Set(newestFirst.prefix(Self.least))
        let rules: [(count: Int, units: Set<Calendar.Component>)] = [
            (daily, [.year, .month, .day]), (weekly, [.yearForWeekOfYear, .weekOfYear]), (monthly, [.year, .month]),
        ]
        for (count, units) in rules {
            var periods = Set<DateComponents>()
            for time in newestFirst {
                guard periods.count < count else { break }
                if periods.insert(calendar.dateComponents(units, from: time)).inserted { kept.insert(time) }
            }
        }
        return kept
    }
}
