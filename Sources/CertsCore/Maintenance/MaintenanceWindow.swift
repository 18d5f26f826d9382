package import Foundation

/// The kinds of maintenance windows.
package enum WindowType: String, Sendable, Hashable, Codable, CaseIterable {
    /// As needed: opened by hand alone.
    case emergency
    case standard
    case major
    case security

    /// When it begins if nothing else is written; `nil`: as needed.
    package var usualRule: JobSchedule.Rule? {
        switch self {
        case .emergency: nil
        case .standard: .weekly([0], 120)
        case .major: try? .cron(CronExpression("0 2 1 1,4,7,10 *"))
        case .security: try? .cron(CronExpression("0 2 15 * *"))
        }
    }

    /// In seconds; `nil`: to be said when it is opened.
    package var usualDuration: TimeInterval? {
        switch self {
        case .emergency: nil
        case .standard: 2 * 3600
        case .major: 4 * 3600
        case .security: 3600
        }
    }
}

/// A time in which disruptive work may run: when it begins, and how long it lasts.
package struct WindowDeclaration: Sendable, Hashable {
    package var type: WindowType
    /// When it begins; `nil`: as needed.
    package var schedule: JobSchedule?
    /// In seconds; `nil`: to be said when it is opened.
    package var duration: TimeInterval?
    /// Programs that prove that the service works; argument vectors, without a shell.
    package var verify: [[String]]

    package init(
        _ type: WindowType, schedule: JobSchedule? = nil, duration: TimeInterval? = nil, verify: [[String]] = []
    ) {
        self.type = type
        self.schedule = schedule
        self.duration = duration
        self.verify = verify
    }

    /// The planned window in which `date` lies; its end is not part of it.
    package func occurrence(at date: Date) -> DateInterval? {
        guard let schedule, let duration else { return nil }
        let found = schedule.occurrences(after: date.addingTimeInterval(-duration), through: date, limit: 1)
        return found.last.last.map { DateInterval(start: $0, duration: duration) }
    }

    /// The first planned window that begins after `date`.
    package func next(after date: Date) -> DateInterval? {
        guard let duration, let start = schedule?.next(after: date) else { return nil }
        return DateInterval(start: start, duration: duration)
    }

    /// The planned windows that begin in `[start, end)`, at most 1000.
    package func occurrences(from start: Date, to end: Date) -> [DateInterval] {
        var found: [DateInterval] = []
        var date = start.addingTimeInterval(-0.001)
        while found.count < 1000, let window = next(after: date), window.start < end {
            found.append(window)
            date = window.start
        }
        return found
    }
}

/// The admin API of the service: announcements to its users, and its maintenance mode.
package struct AdminDeclaration: Sendable, Hashable {
    /// `https`, or `http` to this host; without a path.
    package var url: String
    /// Holds the bearer token alone.
    package var tokenFile: String
    package var caFile: String?
    /// The paths of the two calls.
    package var announcements: String
    package var maintenance: String
    /// Whether the mode can be read by GET of `maintenance`.
    package var readsMode: Bool
    /// Of announcements.
    package var severity: String
    /// What users read while the mode is on.
    package var message: String
    /// Of one request, in seconds.
    package var timeout: TimeInterval

    package init(
        url: String, tokenFile: String, caFile: String? = nil,
        announcements: String = "/api/v1/admin/announcements", maintenance: String = "/api/v1/admin/maintenance",
        readsMode: Bool = false, severity: String = "info", message: String = "System undergoing maintenance",
        timeout: TimeInterval = 10
    ) {
        self.url = url
        self.tokenFile = tokenFile
        self.caFile = caFile
        self.announcements = announcements
        self.maintenance = maintenance
        self.readsMode = readsMode
        self.severity = severity
        self.message = message
        self.timeout = timeout
    }
}

/// The Alertmanager whose alerts are silenced in a window that is opened by hand.
package struct AlertmanagerDeclaration: Sendable, Hashable {
    /// `https`, or `http` to this host.
    package var url: String
    package var caFile: String?
    /// Labels and their values: alerts that have all of them.
    package var matchers: [String: String]

    package init(url: String, caFile: String? = nil, matchers: [String: String]) {
        self.url = url
        self.caFile = caFile
        self.matchers = matchers
    }
}

/// The Prometheus that knows how long the service was up.
package struct PrometheusDeclaration: Sendable, Hashable {
    /// `https`, or `http` to this host.
    package var url: String
    package var caFile: String?
    /// The series that stand for the service, each 1 while it is up.
    package var selector: String

    package init(url: String, caFile: String? = nil, selector: String = "up") {
        self.url = url
        self.caFile = caFile
        self.selector = selector
    }
}

extension MaintenanceDeclaration {
    package func window(_ type: WindowType) -> WindowDeclaration? { windows.first { $0.type == type } }

    /// When the job can run next: at its time, or when the next window that it needs begins.
    ///
    /// - Returns: `nil` if that is up to a person, or never.
    package func nextRun(of job: JobDeclaration, after date: Date, on host: String) -> Date? {
        let delay = job.schedule.delay(of: job.name, on: host)
        guard let due = job.schedule.next(after: date.addingTimeInterval(-delay))?.addingTimeInterval(delay) else {
            return nil
        }
        guard let type = job.window else { return due }
        guard let window = window(type) else { return nil }
        return window.occurrence(at: due) == nil ? window.next(after: due)?.start : due
    }
}
