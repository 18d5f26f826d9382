import CertsCore
import Foundation

/// Gives the live database another name and a restored one its name, in one transaction.
struct DatabaseSwap: Sendable {
    let live: String
    let old: String
    let scratch: String
    let comment: String?
    let connectionLimit: Int
    let faults: FaultPoints

    /// What would hold the renaming up, looked at before anything is done. Blocking.
    static func refuseUnfit(live: String, old: String, _ session: PostgresSession) throws {
        guard old.utf8.count <= 63 else {
            throw CertsError(
                .jobRefused, "the name '\(old)' is longer than 63 bytes", hint: "give another: `--keep-as`")
        }
        guard live != DatabaseAccess.administration, !["template0", "template1"].contains(live) else {
            throw CertsError(.jobRefused, "'\(live)' belongs to the server itself", hint: "it cannot be renamed")
        }
        if try session.run("SELECT EXISTS (SELECT FROM pg_database WHERE datname = \(value: old))").flag {
            throw CertsError(
                .jobRefused, "there is a database '\(old)' already", subject: old, hint: "give another: `--keep-as`")
        }
        let slots = try session.run(
            "SELECT slot_name FROM pg_replication_slots WHERE database = \(value: live)"
        ).values
        guard slots.isEmpty else {
            throw CertsError(
                .jobRefused, "logical replication reads '\(live)': \(slots.joined(separator: ", "))", subject: live,
                hint: "its slots would stay with the old database; drop them first and set replication up anew")
        }
        let prepared = try session.run("SELECT gid FROM pg_prepared_xacts WHERE database = \(value: live)").values
        guard prepared.isEmpty else {
            throw CertsError(
                .jobRefused, "prepared transactions hold '\(live)': \(prepared.joined(separator: ", "))", subject: live,
                hint: "`COMMIT PREPARED` or `ROLLBACK PREPARED` them first")
        }
    }

    /// - Parameter admin: connected to another database.
    func run(_ admin: SharedSession, _ access: DatabaseAccess, _ job: Name, _ control: JobControl) async throws {
        let other = try await SharedSession.open(
            access, "certs:\(job):end", to: DatabaseAccess.administration, what: "sessions cannot be ended", control)
        defer { other.close() }
        // The renaming takes the lock that lets nobody in any more, and then waits 5 s for those who are there to leave:
        // they are ended meanwhile. So nothing is closed that a dead process could leave closed.
        let ending = Task { [live] in
            while !Task.isCancelled {
                try await other.run { session in
                    try session.run(
                        """
                        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                        WHERE datname = \(value: live) AND pid <> pg_backend_pid() AND backend_type = 'client backend'
                        """)
                }
                try await Task.sleep(for: .milliseconds(200))
            }
        }
        defer { ending.cancel() }
        do {
            try await admin.run { try rename($0) }
        } catch let error as CertsError {
            ending.cancel()
            // Why others could not be ended says more than that they are there.
            if case .failure(let reason) = await ending.result, let reason = reason as? CertsError,
                reason.code != .cancelled
            {
                throw reason
            }
            throw error
        }
    }

    private func rename(_ session: PostgresSession) throws {
        try session.run("SET lock_timeout = '10s'")
        try session.transaction {
            if try session.run("SELECT EXISTS (SELECT FROM pg_database WHERE datname = \(value: live))").flag {
                try session.run("ALTER DATABASE \(name: live) RENAME TO \(name: old)")
                // What is written there would be written for nobody.
                try session.run("ALTER DATABASE \(name: old) ALLOW_CONNECTIONS false")
            }
            try faults.reached("restore-renaming")
            try session.run("ALTER DATABASE \(name: scratch) RENAME TO \(name: live)")
            try session.run("ALTER DATABASE \(name: live) CONNECTION LIMIT \(number: connectionLimit)")
            let comment: SQL = comment.map { "\(literal: $0)" } ?? "NULL"
            try session.run("COMMENT ON DATABASE \(name: live) IS \(comment)")
        }
    }
}
