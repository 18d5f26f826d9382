import CertsCore
import CertsTesting
import Foundation
import Testing

/// Rules of schedules, and two oracles that know nothing of ours: `systemd-analyze calendar` and PyPI's cronsim.
@Suite(.timeLimit(.minutes(10))) struct JobScheduleTests {
    static let zones = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]

    private func date(_ text: String) throws -> Date { try Date.ISO8601FormatStyle().parse(text) }

    private func schedule(_ rule: JobSchedule.Rule, _ zone: String = "UTC") throws -> JobSchedule {
        JobSchedule(rule, zone: try #require(TimeZone(identifier: zone)))
    }

    private func occurrences(_ schedule: JobSchedule, after start: Date, count: Int) -> [Date] {
        var (result, date) = ([Date](), start)
        while result.count < count, let next = schedule.next(after: date) {
            result.append(next)
            date = next
        }
        return result
    }

    @Test func everyIsAnchoredToTheEpochAndNotToAStart() throws {
        let every = try schedule(.every(300))
        #expect(every.next(after: try date("2026-03-01T10:02:17Z")) == (try date("2026-03-01T10:05:00Z")))
        #expect(every.next(after: try date("2026-03-01T10:05:00Z")) == (try date("2026-03-01T10:10:00Z")))
    }

    @Test(arguments: [
        // Put forward at 02:00 on 29 March 2026: 02:30 is missing, and 03:00 is the first instant after.
        ("2026-03-28T12:00:00Z", ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]),
        // Put back at 03:00 on 25 October 2026: 02:30 comes twice, and the first counts.
        ("2026-10-24T12:00:00Z", ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
    ])
    func aFixedTimeComesOnceADayWhenTheClocksChange(start: String, expected: [String]) throws {
        let expected = try expected.map(date)
        for rule in [JobSchedule.Rule.daily([150]), .cron(try CronExpression("30 2 * * *"))] {
            #expect(occurrences(try schedule(rule, "Europe/Berlin"), after: try date(start), count: 2) == expected)
        }
    }

    @Test func aMissingHourMakesOneOccurrenceHoweverManyTimesAreInIt() throws {
        let rule = JobSchedule.Rule.cron(try CronExpression("0,15,30,45 2 * * *"))
        let found = occurrences(
            try schedule(rule, "Europe/Berlin"), after: try date("2026-03-29T00:00:00Z"), count: 2)
        #expect(found == [try date("2026-03-29T01:00:00Z"), try date("2026-03-30T00:00:00Z")])
    }

    @Test func wildcardMinutesFollowTheTimeThatPasses() throws {
        let rule = JobSchedule.Rule.cron(try CronExpression("*/30 * * * *"))
        for start in ["2026-03-29T00:00:00Z", "2026-10-25T00:00:00Z"] {
            let begin = try date(start)
            let found = occurrences(try schedule(rule, "Europe/Berlin"), after: begin, count: 8)
            #expect(found == (1...8).map { begin.addingTimeInterval(Double($0) * 1800) })
        }
    }

    @Test(arguments: [
        "", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "*/0 * * * *", "5-1 * * * *",
        "a * * * *", "1,,2 * * * *", "5/10 * * * *", "* * * * * *", "+5 * * * *", "@hourly",
    ])
    func aWrongExpressionIsRefused(text: String) {
        let error = #expect(throws: CertsError.self) { try CronExpression(text) }
        #expect(error?.code == .configurationInvalid)
    }

    @Test func aDayThatNeverComesHasNoNext() throws {
        #expect(
            try schedule(.cron(try CronExpression("0 0 30 2 *"))).next(after: Date(timeIntervalSince1970: 0)) == nil)
    }

    @Test func theDelayIsTheSameEveryTimeAndDiffersFromJobToJob() throws {
        let spread = JobSchedule(.every(60), jitter: 30)
        let names = try (0..<50).map { try Name("job-\($0)") }
        let delays = names.map { spread.delay(of: $0, on: "host-a") }
        #expect(delays == names.map { spread.delay(of: $0, on: "host-a") })
        #expect(Set(delays).count == 50)
        #expect(delays.allSatisfy { (0..<30).contains($0) })
        // Spread over the whole span.
        #expect((delays.max() ?? 0) > 20 && (delays.min() ?? 30) < 10)
        #expect(delays != names.map { spread.delay(of: $0, on: "host-b") })
    }

    /// systemd leaves a missing time out, where ours runs after the gap; on all other days both must agree.
    @Test(arguments: [
        (JobSchedule.Rule.daily([120]), "*-*-* 02:00:00"), (.daily([150, 1439]), "*-*-* 02:30,23:59"),
        (.weekly([0], 180), "Sun *-*-* 03:00:00"), (.weekly([1, 5], 1), "Mon,Fri *-*-* 00:01:00"),
    ])
    func agreesWithSystemd(rule: JobSchedule.Rule, calendar: String) throws {
        let text = calendar == "*-*-* 02:30,23:59" ? nil : calendar
        for zone in Self.zones {
            let start = try date("2026-01-01T00:00:00Z")
            let ours = occurrences(try schedule(rule, zone), after: start, count: 800).prefix {
                $0 < start.addingTimeInterval(86400 * 365)
            }
            let expressions = text.map { [$0] } ?? ["*-*-* 02:30:00", "*-*-* 23:59:00"]
            var theirs: Set<Date> = []
            for expression in expressions {
                theirs.formUnion(try systemd(expression, zone: zone, from: "2026-01-01 00:00:00 UTC", count: 400))
            }
            theirs = theirs.filter { $0 < start.addingTimeInterval(86400 * 365) }
            let onlyOurs = ours.filter { !theirs.contains($0) }
            let onlyTheirs = theirs.subtracting(ours)
            #expect(onlyTheirs.isEmpty, "\(zone) \(calendar): \(onlyTheirs.sorted())")
            // At most the one day on which the time is missing.
            #expect(onlyOurs.count <= 1, "\(zone) \(calendar): \(onlyOurs)")
            #expect(ours.count >= 52)
        }
    }

    private func systemd(_ expression: String, zone: String, from: String, count: Int) throws -> [Date] {
        let outcome = try Tool.run(
            "env", "TZ=\(zone)", "SYSTEMD_COLORS=0", "systemd-analyze", "calendar", "--base-time=\(from)",
            "--iterations=\(count)", expression)
        try #require(outcome.status == 0, "\(outcome.output)")
        let format = DateFormatter()
        format.locale = Locale(identifier: "en_US_POSIX")
        format.timeZone = .gmt
        format.dateFormat = "yyyy-MM-dd HH:mm:ss"
        // In another zone than UTC the same instant follows as `(in UTC): Thu 2026-01-01 02:00:00 UTC`.
        return outcome.output.split(separator: "\n").compactMap { line in
            guard line.hasSuffix(" UTC"), zone == "UTC" || line.contains("(in UTC)"), !line.contains("Normalized")
            else { return nil }
            let words = line.split(separator: " ")
            return format.date(from: words.suffix(3).prefix(2).joined(separator: " "))
        }
    }

    @Test(arguments: [
        "*/5 * * * *", "0 * * * *", "17 */6 * * *", "30 2 * * *", "15,45 1-3 * * *", "0 0 1 * *", "0 3 L * *",
        "5 4 * * sun", "0 0 * * 5L", "0 12 13 * fri", "0 12 */2 * mon", "0 0 29 2 *", "30 1 1-7 jan,jul mon-fri",
        "1-59/7 9-17 * 3-11/2 1-5",
    ])
    func agreesWithCronsim(expression: String) throws {
        let python = try PythonEnvironment.directory("cronsim") + "/bin/python3"
        let script = """
            import sys
            from datetime import datetime, timezone
            from zoneinfo import ZoneInfo
            from cronsim import CronSim
            start = datetime(2026, 1, 1, tzinfo=timezone.utc).astimezone(ZoneInfo(sys.argv[2]))
            it = CronSim(sys.argv[1], start)
            for _ in range(int(sys.argv[3])):
                print(int(next(it).timestamp()))
            """
        for zone in Self.zones {
            let count = expression.hasPrefix("0 0 29") ? 5 : 300
            let outcome = try Tool.run(python, "-c", script, expression, zone, "\(count)")
            try #require(outcome.status == 0, "\(outcome.output)")
            let theirs = outcome.output.split(separator: "\n").compactMap { Int($0) }
            let start = try date("2026-01-01T00:00:00Z")
            let rule = JobSchedule.Rule.cron(try CronExpression(expression))
            let ours = occurrences(try schedule(rule, zone), after: start, count: count).map {
                Int($0.timeIntervalSince1970)
            }
            let difference = zip(ours, theirs).first { $0 != $1 }
            #expect(ours == theirs, "\(zone) \(expression): \(difference.map { "\($0)" } ?? "lengths")")
        }
    }
}
