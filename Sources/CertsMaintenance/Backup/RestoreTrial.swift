import CertsCore
import Foundation

/// Restores a backup into a scratch database and compares that with the manifest.
struct RestoreTrial: Sendable {
    let backup: DatabaseBackup
    let access: DatabaseAccess
    let entry: BackupCatalogue.Entry
    let manifest: BackupManifest
    let control: JobControl
    /// Whether the restored database is to be used: then its owners and rights have to be right, too.
    let isForUse: Bool

    struct Outcome: Sendable {
        /// Until it was compared.
        let seconds: Double
        let differences: [String]
    }

    /// Makes the scratch and fills it. It is there when this throws, too.
    ///
    /// - Parameters:
    ///   - admin: connected to another database.
    ///   - checks: whether a restore that fails ends the work; otherwise what it says is a difference.
    func run(_ scratch: String, _ admin: SharedSession, checks: Bool) async throws -> Outcome {
        let begin = ContinuousClock.now
        let (client, isSuperuser) = try await prepare(scratch, admin)
        let owners = isForUse || isSuperuser
        var differences: [String] = []
        do {
            try await restore(client, scratch, owners: owners, toTheEnd: !checks)
        } catch let error as CertsError
            where error.code == .jobFailed && !control.isOver && !checks
            && Self.isAboutContent(error)
        {
            differences.append(error.description)
        }
        differences += try await compare(client, scratch, owners: owners)
        return Outcome(
            seconds: Double((ContinuousClock.now - begin) / .milliseconds(1)) / 1000, differences: differences)
    }

    /// Whether `pg_restore` came to its end and named what it could not restore. One that was killed, or lost the server, has
    /// restored a part, and nobody knows which.
    private static func isAboutContent(_ error: CertsError) -> Bool {
        error.message.contains("(exit code 1)") && !error.message.contains("could not connect")
            && !error.message.contains("connection to server")
    }

    private func prepare(_ scratch: String, _ admin: SharedSession) async throws -> (PostgresClient, Bool) {
        let (version, isSuperuser) = try await admin.run { session in
            (
                session.serverVersion,
                try session.run("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").flag
            )
        }
        guard version / 10000 >= manifest.serverVersion / 10000 else {
            throw CertsError(
                .jobRefused, "the backup is of a server \(manifest.serverVersion / 10000), this one is older",
                subject: entry.name, hint: "restore it on a server of that version")
        }
        let client = try await PostgresClient.find(
            backup.clientDirectory, server: version, access: access, control)
        guard let ours = PostgresClient.major(client.version), ours >= PostgresClient.major(manifest.client) ?? 0 else {
            throw CertsError(
                .jobRefused, "pg_restore is \(client.version), older than what dumped it (\(manifest.client))",
                subject: entry.name, hint: "name the directory of a newer client in `clientDirectory`")
        }
        try await admin.run { [self] session in
            try ScratchDatabase.sweep(session)
            try refuseWithoutRoom(session)
            try ScratchDatabase.make(scratch, manifest.properties, session, within: control.left)
        }
        return (client, isSuperuser)
    }

    /// Where the disk of the server can be seen from here.
    private func refuseWithoutRoom(_ session: PostgresSession) throws {
        guard access.declaration.isLocal,
            let directory = try session.run(
                """
                SELECT CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE') THEN current_setting('data_directory') END
                """
            ).value,
            let free = BackupFiles.free(directory), free < manifest.databaseBytes
        else { return }
        throw CertsError(
            .jobRefused,
            "the server has \(free) bytes left in \(directory), the database had \(manifest.databaseBytes)",
            subject: entry.name, hint: "make room on the disk of the server", retry: .later)
    }

    private func passfile() async throws -> Passfile? {
        try await JobExecutor.pool.run { [access, backup] in
            try access.password().map { try Passfile($0, in: backup.directory) }
        }
    }

    private func restore(_ client: PostgresClient, _ scratch: String, owners: Bool, toTheEnd: Bool) async throws {
        var arguments = ["--jobs=\(backup.parallel)"]
        if !toTheEnd { arguments.append("--exit-on-error") }
        if !owners { arguments += ["--no-owner", "--no-privileges"] }
        try await client.run(
            "pg_restore", arguments + [entry.path(manifest.archive)], to: scratch, passfile: try await passfile(),
            control)
    }

    private func compare(_ client: PostgresClient, _ scratch: String, owners: Bool) async throws -> [String] {
        let session = try await SharedSession.open(
            access, "certs:compare", to: scratch, what: "the comparison failed", control)
        defer { session.close() }
        let content = try await session.run { [backup, control] session in
            try session.transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY") {
                try DatabaseContent.read(session, backup.comparison, control)
            }
        }
        session.close()
        let folder = try TemporaryFolder(in: backup.directory)
        defer { withExtendedLifetime(folder) {} }
        let path = "\(folder.path)/\(BackupManifest.schemaName)"
        try await client.run(
            "pg_dump", ["--schema-only", "--file=\(path)"], to: scratch, passfile: try await passfile(), control)
        return try await JobExecutor.pool.run { [self] in
            let (before, after) = (try Self.text(entry.path(BackupManifest.schemaName)), try Self.text(path))
            let schema = SchemaText(before, owners: owners).differences(in: SchemaText(after, owners: owners))
            return schema + manifest.content.differences(in: content)
        }
    }

    private static func text(_ path: String) throws -> String {
        guard let bytes = FileManager.default.contents(atPath: path) else { throw BackupFiles.failure(path, ENOENT) }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// A directory (0700) that is gone with the last reference. A killed process leaves it: it has a schema in it, no rows.
final class TemporaryFolder: Sendable {
    static let prefix = ".compare-"
    let path: String

    init(in directory: String) throws {
        path = "\(directory)/\(Self.prefix)\(UUID().uuidString)"
        try BackupFiles.makeDirectory(path)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
