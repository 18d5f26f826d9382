import CertsCore
import Foundation

/// What is free where the server keeps a table; only where the server runs on this host and tells where that is.
struct DiskSpace {
    /// In bytes, for those who are not root; `nil`: it cannot be seen from here.
    ///
    /// - Parameter relation: the oid of a table or an index.
    static func free(for relation: String, in session: PostgresSession, isLocal: Bool) throws -> Int? {
        guard isLocal, let directory = try directory(of: relation, session) else { return nil }
        // A server in a container has the same path, but not on this file system.
        guard try isTheServers(directory, session) else { return nil }
        var status = statvfs()
        guard statvfs(directory, &status) == 0 else { return nil }
        let (bytes, overflows) = Int(clamping: status.f_bavail).multipliedReportingOverflow(
            by: Int(clamping: status.f_frsize))
        return overflows ? Int.max : bytes
    }

    /// The table space, or the data directory, which only members of `pg_read_all_settings` are told.
    private static func directory(of relation: String, _ session: PostgresSession) throws -> String? {
        let row = try session.run(
            """
            SELECT pg_tablespace_location(coalesce(nullif(c.reltablespace, 0), d.dattablespace)),
                CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE') THEN current_setting('data_directory') END
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_database d ON d.datname = current_database()
            WHERE c.oid = \(value: relation)::oid
            """
        ).rows.first
        guard let row, row.count == 2 else { return nil }
        if let space = row[0], !space.isEmpty { return space }
        return row[1].flatMap { $0.isEmpty ? nil : $0 }
    }

    /// Whether `directory` belongs to the user whose socket we came through.
    private static func isTheServers(_ directory: String, _ session: PostgresSession) throws -> Bool {
        guard let socket = session.socketPath else { return false }
        var (server, found) = (stat(), stat())
        guard stat(socket, &server) == 0, stat(directory, &found) == 0 else { return false }
        return server.st_uid == found.st_uid && found.st_mode & S_IFMT == S_IFDIR
    }
}
