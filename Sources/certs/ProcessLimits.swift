import Foundation

/// What the process may use, and what it inherits.
enum ProcessLimits {
    /// As many open files as the administrator allows: each certificate whose rotation waits for a shared reload holds a
    /// lock. Lower than that stays what a shell sets for programs that cannot handle many.
    static func raiseOpenFiles() {
        var limit = rlimit()
        guard getrlimit(openFilesLimit, &limit) == 0, limit.rlim_cur < limit.rlim_max else { return }
        limit.rlim_cur = min(limit.rlim_max, 65_536)
        setrlimit(openFilesLimit, &limit)
    }

    /// Forgets what libpq would read of the environment: where the jobs delete is said by the configuration alone. Before
    /// the first thread, because another one might be reading.
    static func forgetDatabaseEnvironment() {
        for name in ProcessInfo.processInfo.environment.keys where name.hasPrefix("PG") { unsetenv(name) }
    }

    static var openFiles: Int {
        var limit = rlimit()
        return getrlimit(openFilesLimit, &limit) == 0 ? Int(clamping: limit.rlim_cur) : 256
    }

    /// glibc declares the constant as an enumeration, and the calls with a number.
    private static var openFilesLimit: __rlimit_resource_t { __rlimit_resource_t(RLIMIT_NOFILE.rawValue) }
}
