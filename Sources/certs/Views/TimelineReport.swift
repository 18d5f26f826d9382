import CertsEngine
import Foundation

/// What `certs timeline -o json` prints: when renewals become due and certificates expire, what comes first before the
/// rest.
struct TimelineReport: Encodable {
    let schema = 1
    let at: Date
    let weeks: Int
    let certificates: [Row]

    static let week: TimeInterval = 7 * 86400

    struct Row: Encodable {
        let certificate: String
        let managed: Bool
        /// `null`: it is not managed.
        @OrNull var dueAt: Date?
        /// `null`: nothing has been issued, or it cannot be read.
        @OrNull var notAfter: Date?
        /// Counted from 0, the week that begins at `at`; what is already past is in it. `null`: later than the last week.
        @OrNull var renewalWeek: Int?
        @OrNull var expiryWeek: Int?
    }

    init(_ report: StatusReport, weeks: Int, at now: Date) {
        (at, self.weeks) = (now, weeks)
        func week(_ date: Date?) -> Int? {
            guard let date else { return nil }
            let distance = (date.timeIntervalSince(now) / Self.week).rounded(.down)
            return distance < Double(weeks) ? Int(max(0, distance)) : nil
        }
        certificates = report.certificates.map { entry in
            // What has never been issued is due.
            let due = entry.dueAt ?? (entry.managed && entry.notAfter == nil ? now : nil)
            return Row(
                certificate: entry.name, managed: entry.managed, dueAt: due, notAfter: entry.notAfter,
                renewalWeek: week(due), expiryWeek: week(entry.notAfter))
        }.sorted { ($0.first, $0.certificate) < ($1.first, $1.certificate) }
    }
}

extension TimelineReport.Row {
    fileprivate var first: Date { min(dueAt ?? .distantFuture, notAfter ?? .distantFuture) }
}
