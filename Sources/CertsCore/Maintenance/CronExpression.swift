/// Five fields as cron takes them: minute, hour, day of the month, month, day of the week.
///
/// Numbers, names (`jan`, `mon`), ranges, steps and lists; `L` as a day of the month is its last, `5L` as a day of the
/// week the last Friday. Where both days are restricted, either is enough; one that begins with `*` restricts nothing
/// (the rule of Debian's cron). 7 is Sunday, too.
package struct CronExpression: Sendable, Hashable, CustomStringConvertible {
    package let description: String
    /// Minutes since midnight, ascending.
    let times: [Int]
    /// Whether minute or hour begin with `*`: such an expression follows the time that passes, and not the clocks that
    /// are put forward or back.
    let followsRealTime: Bool
    private let daysOfMonth: Set<Int>
    private let isLastDay: Bool
    private let months: Set<Int>
    private let weekdays: Set<Int>
    private let lastWeekdays: Set<Int>
    private let isEitherDay: Bool

    /// - Throws: `configuration.invalid`, which names the field.
    package init(_ text: String) throws(CertsError) {
        let fields = text.split(separator: " ", omittingEmptySubsequences: true).map(String.init)
        guard fields.count == 5, text.utf8.count <= 200 else {
            throw CronField.refusal("'\(text)' has \(fields.count) fields instead of five")
        }
        let minutes = try CronField(fields[0], "minute", 0...59)
        let hours = try CronField(fields[1], "hour", 0...23)
        let days = try CronField(fields[2], "day of the month", 1...31, takesLastDay: true)
        let month = try CronField(fields[3], "month", 1...12, names: CronField.months)
        let week = try CronField(fields[4], "day of the week", 0...7, names: CronField.weekdays, takesLastWeekday: true)
        times = hours.values.flatMap { hour in minutes.values.map { hour * 60 + $0 } }.sorted()
        followsRealTime = minutes.beginsWithStar || hours.beginsWithStar
        daysOfMonth = days.values
        isLastDay = days.isLastDay
        months = month.values
        weekdays = Set(week.values.map { $0 % 7 })
        lastWeekdays = Set(week.lastWeekdays.map { $0 % 7 })
        isEitherDay = !days.beginsWithStar && !week.beginsWithStar
        description = fields.joined(separator: " ")
    }

    func matches(_ day: CalendarDay) -> Bool {
        guard months.contains(day.month) else { return false }
        let byMonth = daysOfMonth.contains(day.dayOfMonth) || (isLastDay && day.isLastOfMonth)
        let byWeek =
            weekdays.contains(day.weekday) || (lastWeekdays.contains(day.weekday) && day.isLastWeekdayOfMonth)
        return isEitherDay ? byMonth || byWeek : byMonth && byWeek
    }
}

/// One field of a cron expression.
private struct CronField {
    static let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
    static let weekdays = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]

    private(set) var values: Set<Int> = []
    private(set) var lastWeekdays: Set<Int> = []
    private(set) var isLastDay = false
    let beginsWithStar: Bool
    private let what: String
    private let range: ClosedRange<Int>
    private let names: [String]

    init(
        _ text: String, _ what: String, _ range: ClosedRange<Int>, names: [String] = [], takesLastDay: Bool = false,
        takesLastWeekday: Bool = false
    ) throws(CertsError) {
        self.what = what
        self.range = range
        self.names = names
        beginsWithStar = text.hasPrefix("*")
        for part in text.split(separator: ",", omittingEmptySubsequences: false).map(String.init) {
            if takesLastDay, part.uppercased() == "L" {
                isLastDay = true
            } else if takesLastWeekday, part.count == 2, part.uppercased().hasSuffix("L") {
                lastWeekdays.insert(try number(String(part.dropLast())))
            } else {
                values.formUnion(try set(part))
            }
        }
    }

    /// `*`, `5`, `1-5`, `*/15`, `10-40/5`.
    private func set(_ part: String) throws(CertsError) -> Set<Int> {
        let halves = part.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard let base = halves.first, halves.count <= 2 else { throw refusal(part) }
        var step = 1
        if halves.count == 2 {
            guard let number = Self.digits(halves[1]), number >= 1, number <= range.upperBound else {
                throw refusal(part)
            }
            step = number
        }
        if base == "*" {
            // Of 0 to 7 the last is the first again.
            let upper = range == 0...7 ? 6 : range.upperBound
            return Set(stride(from: range.lowerBound, through: upper, by: step))
        }
        let ends = base.split(separator: "-", omittingEmptySubsequences: false).map(String.init)
        guard ends.count <= 2, let first = ends.first, let last = ends.last else { throw refusal(part) }
        let (lower, upper) = (try number(first), try number(last))
        // `5/10` means something else to each cron; it is written as a range.
        guard lower <= upper, ends.count == 2 || halves.count == 1 else { throw refusal(part) }
        return Set(stride(from: lower, through: upper, by: step))
    }

    private func number(_ text: String) throws(CertsError) -> Int {
        if let index = names.firstIndex(of: text.lowercased()) { return index + (range.lowerBound == 1 ? 1 : 0) }
        guard let number = Self.digits(text), range.contains(number) else { throw refusal(text) }
        return number
    }

    private static func digits(_ text: String) -> Int? {
        guard (1...4).contains(text.utf8.count),
            text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
        else { return nil }
        return Int(text)
    }

    private func refusal(_ part: String) -> CertsError {
        Self.refusal("'\(part)' is not a \(what)")
    }

    static func refusal(_ why: String) -> CertsError {
        CertsError(
            .configurationInvalid, "\(why) of a cron expression",
            hint: "write five fields: minute (0-59), hour (0-23), day (1-31 or L), month (1-12), weekday (0-7, 5L): "
                + "'30 2 * * mon-fri'")
    }
}
