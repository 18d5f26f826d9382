package import CertsCore

/// What the server, or the library that talks to it, said.
package struct PostgresFailure: Error, Sendable, CustomStringConvertible {
    /// Five characters (PostgreSQL manual, "PostgreSQL Error Codes"); `nil`: not from the server.
    package let state: String?
    package let message: String
    package var detail: String?
    package var constraint: String?

    package var description: String {
        let text = message + (detail.map { " (\($0))" } ?? "") + (state.map { " [\($0)]" } ?? "")
        return TerminalText.sanitized(text, limit: 1000)
    }

    /// A row that cannot be deleted as long as something else is as it is: constraints, and what a trigger raises.
    package var isAboutRows: Bool {
        guard let state else { return false }
        return state.hasPrefix("23") || state == "P0001" || state == "27000"
    }
    /// `lock_not_available`.
    package var isLockTimeout: Bool { state == "55P03" }
    /// `query_canceled`: by `statement_timeout`, by us, or by an administrator.
    package var isCancelled: Bool { state == "57014" }
    /// `deadlock_detected`, `serialization_failure`: the same again may do.
    package var isTransient: Bool { state == "40P01" || state == "40001" }
    /// The connection is of no use any more.
    package var isConnectionLost: Bool {
        guard let state else { return true }
        return state.hasPrefix("08") || ["57P01", "57P02", "57P03"].contains(state)
    }

    /// The same as the product's error.
    package func error(_ what: String, subject: String) -> CertsError {
        let (code, hint, retry): (CertsError.Code, String, CertsError.Retry) =
            switch state {
            case nil: (.databaseUnreachable, "look whether the server runs and can be reached from here", .later)
            case let state? where state.hasPrefix("08") || state.hasPrefix("57P"):
                (.databaseUnreachable, "the server is going down or restarting; it is tried again", .later)
            case let state? where state.hasPrefix("28") || state == "42501" || state == "3D000":
                (.databaseRefused, "look at user, password and rights in `maintenance.database`", .never)
            case "55P03", "57014":
                (.databaseTimeout, "somebody holds locks: `SELECT * FROM pg_stat_activity` names them", .later)
            case "40P01", "40001", "53100", "53200", "53300":
                (.databaseFailed, "it is tried again", .later)
            default: (.databaseFailed, "the code in brackets is explained in the PostgreSQL manual", .never)
            }
        return CertsError(code, "\(what): \(description)", subject: subject, hint: hint, retry: retry)
    }
}
