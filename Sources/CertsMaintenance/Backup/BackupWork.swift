import CertsCore
import CertsPrograms
import Foundation

/// Makes a backup: dumped, read back whole, described, made durable, and only then called by its name.
struct BackupWork: HostWork {
    let backup: DatabaseBackup
    let access: DatabaseAccess

    var lockPlace: LockPlace { .declaredDatabase }

    private var database: String { access.declaration.name }
    private var catalogue: BackupCatalogue { BackupCatalogue(backup.directory, database: database) }

    /// What the server is, and what it lets us read.
    private struct Server: Sendable {
        var version: Int
        var systemIdentifier: String
        var isSuperuser: Bool
        var databaseBytes: Int

        init(_ session: PostgresSession) throws {
            version = session.serverVersion
            systemIdentifier = try session.run("SELECT system_identifier FROM pg_control_system()").value ?? ""
            isSuperuser = try session.run("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").flag
            databaseBytes = try session.run("SELECT pg_database_size(current_database())").integer ?? 0
        }
    }

    // MARK: - Plan

    func preview(_ job: Name, sample: Int, control: JobControl) async throws -> [WorkPreview] {
        let session = try await SharedSession.open(access, "certs:\(job):plan", what: "the plan failed", control)
        let server = try await session.run { try Server($0) }
        session.close()
        let client = try await PostgresClient.find(
            backup.clientDirectory, server: server.version, access: access, control)
        return try await JobExecutor.pool.run { [self] in
            try BackupFolder.check(backup.directory)
            let name = BackupName(database, at: control.now())
            let entries = try catalogue.entries()
            try refuseWithoutRoom(entries)
            var warnings = ["the name has the time of the run", "made by pg_dump \(client.version)"]
            if !server.isSuperuser {
                warnings.append("roles are saved without their passwords: the role is no superuser")
            }
            let made = WorkPreview(
                subject: "backup of \(access.place)", count: 1, bytes: server.databaseBytes, keys: ["\(name)"],
                warnings: warnings)
            let surplus = surplus(of: entries, beside: name.time)
            let bytes = surplus.reduce(0) { $0 + ($1.manifest?.bytes ?? 0) }
            return [
                made,
                WorkPreview(
                    subject: "old backups in \(backup.directory)", count: surplus.count, bytes: bytes,
                    keys: surplus.prefix(sample).map(\.name)),
            ]
        }
    }

    /// Good backups that the retention does not keep, oldest first.
    private func surplus(of entries: [BackupCatalogue.Entry], beside time: Date?) -> [BackupCatalogue.Entry] {
        guard let retention = backup.retention else { return [] }
        let good = entries.filter(\.isGood)
        let kept = retention.kept(of: good.map(\.time) + (time.map { [$0] } ?? []))
        return good.filter { !kept.contains($0.time) }.reversed()
    }

    private func refuseWithoutRoom(_ entries: [BackupCatalogue.Entry]) throws {
        guard let last = entries.first(where: \.isGood)?.manifest?.bytes, let free = BackupFiles.free(backup.directory),
            free < last
        else { return }
        throw CertsError(
            .jobRefused, "\(backup.directory) has \(free) bytes left, and the last backup has \(last)",
            subject: backup.directory, hint: "make room, or keep fewer of them (`keep`)", retry: .later)
    }

    // MARK: - Run

    func run(_ job: Name, control: JobControl) async throws -> JobExecutor.Done {
        let catalogue = catalogue
        let folder = try await JobExecutor.pool.run { [self] in
            let folder = try BackupFolder(catalogue)
            try refuseWithoutRoom(try catalogue.entries())
            return folder
        }
        let name = BackupName(database, at: control.now())
        let path = try await JobExecutor.pool.run { try folder.begin(name) }
        let manifest: BackupManifest
        do {
            manifest = try await make(job, path, control)
            try await JobExecutor.pool.run { try folder.finish(path, name) }
        } catch {
            try? await withUncancelledTask { try await JobExecutor.pool.run { folder.abandon(path) } }
            throw error
        }
        return try await complete(manifest, job, name, folder, control)
    }

    /// Everything up to the name.
    private func make(_ job: Name, _ path: String, _ control: JobControl) async throws -> BackupManifest {
        let begin = ContinuousClock.now
        let session = try await SharedSession.open(access, "certs:\(job):snapshot", what: "the backup failed", control)
        defer { session.close() }
        let server = try await session.run { try Server($0) }
        // First of all: an old client fails in the middle, or worse.
        let client = try await PostgresClient.find(
            backup.clientDirectory, server: server.version, access: access, control)
        let (snapshot, takenAt, read) = try await session.run { [backup] session in
            try session.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            let snapshot = try session.run("SELECT pg_export_snapshot()").value ?? ""
            let takenAt = control.now()
            return (snapshot, takenAt, try DatabaseContent.read(session, backup.comparison, control))
        }
        try await dump(client, snapshot, path, server, control)
        let (content, properties) = try await session.run { session in
            var content = read
            try content.close(session)
            let properties = try DatabaseProperties.read(session)
            try session.run("COMMIT")
            return (content, properties)
        }
        var manifest = BackupManifest(
            database: database, systemIdentifier: server.systemIdentifier, takenAt: takenAt, seconds: 0,
            serverVersion: server.version, client: client.version, format: backup.format.rawValue,
            hasPasswords: server.isSuperuser, databaseBytes: server.databaseBytes, files: [], content: content,
            properties: properties)
        // A look at the table of contents alone would accept a dump that is cut short.
        try await client.run("pg_restore", ["--file=/dev/null", "\(path)/\(manifest.archive)"], control)
        manifest.seconds = Double((ContinuousClock.now - begin) / .milliseconds(1)) / 1000
        return try await describe(manifest, path, control)
    }

    private func dump(
        _ client: PostgresClient, _ snapshot: String, _ path: String, _ server: Server, _ control: JobControl
    ) async throws {
        let passfile = try await JobExecutor.pool.run { [self] in
            try access.password().map { try Passfile($0, in: backup.directory) }
        }
        let common = ["--snapshot=\(snapshot)", "--lock-wait-timeout=60000"]
        let archive =
            backup.format == .directory
            ? ["--format=directory", "--jobs=\(backup.parallel)", "--file=\(path)/\(BackupManifest.dumpFolder)"]
            : ["--format=custom", "--file=\(path)/\(BackupManifest.dumpName)"]
        try await client.run("pg_dump", common + archive, to: database, passfile: passfile, control)
        try await client.run(
            "pg_dump", common + ["--schema-only", "--file=\(path)/\(BackupManifest.schemaName)"], to: database,
            passfile: passfile, control)
        let passwords = server.isSuperuser ? [] : ["--no-role-passwords"]
        try await client.run(
            "pg_dumpall",
            ["--globals-only", "--database=\(database)", "--file=\(path)/\(BackupManifest.globalsName)"] + passwords,
            to: database, passfile: passfile, control)
    }

    private func describe(_ manifest: BackupManifest, _ path: String, _ control: JobControl) async throws
        -> BackupManifest
    {
        let described = try await JobExecutor.pool.run {
            var described = manifest
            described.files = try BackupFiles.list(path).map {
                .init(path: $0, bytes: BackupFiles.size("\(path)/\($0)") ?? 0)
            }
            try BackupFiles.write(
                try StoredJSON.encode(described, readable: true), to: "\(path)/\(BackupManifest.fileName)")
            return described
        }
        let files = described.files.map(\.path) + [BackupManifest.fileName]
        let sums = try await BackupFiles.sums(path, files, control)
        try await JobExecutor.pool.run {
            try BackupFiles.write(sums, to: "\(path)/\(BackupManifest.sumsName)")
            try BackupFiles.seal(path, files + [BackupManifest.sumsName])
        }
        return described
    }

    // MARK: - After it has its name

    /// Nothing in here makes the backup a bad one.
    private func complete(
        _ manifest: BackupManifest, _ job: Name, _ name: BackupName, _ folder: BackupFolder, _ control: JobControl
    ) async throws -> JobExecutor.Done {
        var done = JobExecutor.Done(rows: 1)
        var reasons: [String] = []
        do {
            let expired = try await expire(folder, control)
            done.counts = [JobCounter(job: job, kind: .bytesFreed, value: expired.bytes)]
            if !expired.held.isEmpty {
                let names = expired.held.joined(separator: ", ")
                reasons.append("\(names) is not deleted: somebody reads it, or other files are in it")
            }
        } catch {
            reasons.append("no old backup was deleted: \(CertsError.wrapping(error).description)")
        }
        do {
            try await copy(name, control)
        } catch {
            reasons.append("the copy elsewhere failed: \(CertsError.wrapping(error).description)")
        }
        done.measures = try await JobExecutor.pool.run { [catalogue] in
            let copied = try catalogue.entries().first { $0.copiedAt != nil }?.manifest?.takenAt
            return Self.measures(manifest, copied)
        }
        done.reason = reasons.isEmpty ? nil : reasons.joined(separator: "; ")
        return done
    }

    private static func measures(_ manifest: BackupManifest, _ copied: Date?) -> [JobMeasure] {
        let type = ["type": "logical"]
        return [
            JobMeasure(.backupSuccess, type, manifest.takenAt.timeIntervalSince1970),
            JobMeasure(.backupBytes, type, Double(manifest.bytes)),
            JobMeasure(.backupSeconds, type, manifest.seconds),
        ] + (copied.map { [JobMeasure(.backupOffsite, type, $0.timeIntervalSince1970)] } ?? [])
    }

    /// - Returns: the bytes that were deleted, and what would have to go and stays.
    private func expire(_ folder: BackupFolder, _ control: JobControl) async throws -> (bytes: Int, held: [String]) {
        let entries = try await JobExecutor.pool.run { try folder.catalogue.entries() }
        // Whatever the numbers say: the last one that a restore has proven stays.
        let proven = entries.first(where: \.isProven)?.name
        let surplus = surplus(of: entries, beside: nil).filter { $0.name != proven }
        guard !surplus.isEmpty else { return (0, []) }
        // The new one was just read whole. So is the one before it, or this could be the last good one that goes.
        let kept = entries.filter { entry in entry.isGood && !surplus.contains { $0.name == entry.name } }
        guard kept.count >= BackupRetention.least else { return (0, []) }
        try await BackupFiles.verify(kept[1], control)
        return try await JobExecutor.pool.run {
            var bytes = 0
            var held: [String] = []
            for entry in surplus {
                if let freed = try folder.delete(entry) { bytes += freed } else { held.append(entry.name) }
            }
            return (bytes, held)
        }
    }

    private func copy(_ name: BackupName, _ control: JobControl) async throws {
        guard !backup.offsite.isEmpty else { return }
        let path = "\(backup.directory)/\(name)"
        let program = Program(backup.offsite + [path], deadline: control.left, outputLimit: 1 << 20)
        do {
            try await program.run()
        } catch let failure as ProgramFailure {
            throw failure.certsError(.jobFailed, "'\(Program.shown(backup.offsite))'", subject: "\(name)")
        }
        let record = OffsiteRecord(at: control.now())
        try await JobExecutor.pool.run {
            try BackupFiles.write(try StoredJSON.encode(record), to: "\(path)/\(OffsiteRecord.fileName)")
        }
    }
}
