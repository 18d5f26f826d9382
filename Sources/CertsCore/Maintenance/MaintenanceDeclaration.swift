package import Foundation

/// `maintenance:` of the configuration: the jobs around the service whose certificates are managed.
package struct MaintenanceDeclaration: Sendable, Hashable {
    package var database: DatabaseDeclaration?
    package var redis: RedisDeclaration?
    package var jobs: [JobDeclaration]
    package var windows: [WindowDeclaration]
    package var admin: AdminDeclaration?
    package var prometheus: PrometheusDeclaration?
    package var alertmanager: AlertmanagerDeclaration?

    package init(
        database: DatabaseDeclaration? = nil, redis: RedisDeclaration? = nil, jobs: [JobDeclaration] = [],
        windows: [WindowDeclaration] = [], admin: AdminDeclaration? = nil, prometheus: PrometheusDeclaration? = nil,
        alertmanager: AlertmanagerDeclaration? = nil
    ) {
        self.database = database
        self.redis = redis
        self.jobs = jobs
        self.windows = windows
        self.admin = admin
        self.prometheus = prometheus
        self.alertmanager = alertmanager
    }
}

/// The PostgreSQL server that the jobs work on.
package struct DatabaseDeclaration: Sendable, Hashable {
    /// A name, an address, or the directory of a Unix socket.
    package var host: String
    package var port: Int
    package var name: String
    package var user: String
    /// Holds the password alone.
    package var passwordFile: String?
    package var tls: TLSMode
    /// The certificates that the server's must chain to.
    package var caFile: String?
    /// What the server calls itself (`system_identifier` of `pg_control_system()`): nothing is done on another one.
    package var systemIdentifier: String?

    /// As libpq's `sslmode`.
    package enum TLSMode: String, Sendable, Hashable, CaseIterable {
        case disable, require
        case verifyCA = "verify-ca"
        case verifyFull = "verify-full"
    }

    package init(
        host: String, port: Int = 5432, name: String, user: String, passwordFile: String? = nil,
        tls: TLSMode = .verifyFull, caFile: String? = nil, systemIdentifier: String? = nil
    ) {
        self.host = host
        self.port = port
        self.name = name
        self.user = user
        self.passwordFile = passwordFile
        self.tls = tls
        self.caFile = caFile
        self.systemIdentifier = systemIdentifier
    }

    /// Whether nothing of it leaves this host.
    package var isLocal: Bool { host.hasPrefix("/") || ["localhost", "127.0.0.1", "::1"].contains(host) }
}

/// The Redis server through which users are told.
package struct RedisDeclaration: Sendable, Hashable {
    package var host: String
    package var port: Int
    package var passwordFile: String?

    package init(host: String, port: Int = 6379, passwordFile: String? = nil) {
        self.host = host
        self.port = port
        self.passwordFile = passwordFile
    }
}

/// One job: what, when, and what holds it back.
package struct JobDeclaration: Sendable, Hashable {
    package var name: Name
    package var work: JobWork
    package var schedule: JobSchedule
    package var catchUp: CatchUp
    package var overlap: Overlap
    /// How long one run may take, in seconds.
    package var deadline: TimeInterval
    /// How often a failed run is tried again, and the seconds before the first of these (doubled each time).
    package var retries: Int
    package var retryAfter: TimeInterval
    /// The type of window that it runs in; `nil`: it needs none.
    package var window: WindowType?

    package init(
        name: Name, work: JobWork, schedule: JobSchedule, catchUp: CatchUp = .latest(within: 86400),
        overlap: Overlap = .skip, deadline: TimeInterval = 600, retries: Int = 2, retryAfter: TimeInterval = 10,
        window: WindowType? = nil
    ) {
        self.name = name
        self.work = work
        self.schedule = schedule
        self.catchUp = catchUp
        self.overlap = overlap
        self.deadline = deadline
        self.retries = retries
        self.retryAfter = retryAfter
        self.window = window
    }
}
