/// A logical backup of the declared database: one directory for each, with the dump, the roles, the schema and a manifest.
package struct DatabaseBackup: Sendable, Hashable {
    package enum Format: String, Sendable, Hashable, Codable, CaseIterable {
        case custom, directory
    }

    /// How a restored table is compared with what it was.
    package enum Comparison: String, Sendable, Hashable, Codable, CaseIterable {
        /// Number and content of the rows.
        case rows
        /// Their number alone: tables that are too large to be read once more.
        case counts
    }

    /// In which the backups are made and kept.
    package var directory: String
    package var format: Format
    /// How many tables are dumped and restored at once; a dump in the custom format is written by one.
    package var parallel: Int
    /// Where `pg_dump` and its siblings are; `nil`: those of the server's version, or through `PATH`.
    package var clientDirectory: String?
    package var comparison: Comparison
    /// `nil`: none is ever deleted.
    package var retention: BackupRetention?
    /// Gets the path of the backup as one argument more; empty: there is no copy elsewhere.
    package var offsite: [String]

    package init(
        directory: String, format: Format = .custom, parallel: Int = 1, clientDirectory: String? = nil,
        comparison: Comparison = .rows, retention: BackupRetention? = nil, offsite: [String] = []
    ) {
        self.directory = directory
        self.format = format
        self.parallel = parallel
        self.clientDirectory = clientDirectory
        self.comparison = comparison
        self.retention = retention
        self.offsite = offsite
    }
}

/// Restores a backup into a database that is made for it, compares, and drops that again.
package struct RestoreTest: Sendable, Hashable {
    /// The job that makes the backups; `nil`: the only one there is.
    package var job: Name?
    /// `nil`: the newest that is whole.
    package var backup: String?

    package init(of job: Name? = nil, backup: String? = nil) {
        self.job = job
        self.backup = backup
    }
}

/// Puts a backup into the place of the live database, which is kept under another name.
package struct DatabaseRestore: Sendable, Hashable {
    package var job: Name?
    package var backup: String
    /// The name that the live database has afterwards.
    package var keepAs: String
    /// Whether a backup that is damaged or differs from its manifest is put there nevertheless.
    package var acceptsDifferences: Bool

    package init(of job: Name? = nil, backup: String, keepAs: String, acceptsDifferences: Bool = false) {
        self.job = job
        self.backup = backup
        self.keepAs = keepAs
        self.acceptsDifferences = acceptsDifferences
    }
}

/// A backup of the whole server by pgBackRest, which has a configuration of its own.
package struct PhysicalBackup: Sendable, Hashable {
    /// As pgBackRest's `--type`.
    package enum Extent: String, Sendable, Hashable, CaseIterable {
        case full, diff, incr
    }

    package var stanza: String
    package var extent: Extent
    /// The program and the arguments before ours, for example to change the user.
    package var program: [String]

    package init(stanza: String, extent: Extent = .incr, program: [String] = ["pgbackrest"]) {
        self.stanza = stanza
        self.extent = extent
        self.program = program
    }
}

extension MaintenanceDeclaration {
    /// The declared backup of that name, or the only one.
    package func backup(of job: Name?) throws(CertsError) -> (job: Name, backup: DatabaseBackup) {
        let all = jobs.compactMap { declared -> (job: Name, backup: DatabaseBackup)? in
            guard case .backUp(let backup) = declared.work else { return nil }
            return (declared.name, backup)
        }
        let fitting = all.filter { job == nil || $0.job == job }
        if fitting.count == 1 { return fitting[0] }
        let names = all.map(\.job.rawValue).joined(separator: ", ")
        throw CertsError(
            .nameUnknown,
            job.map { "no job of kind backup is named '\($0)'" } ?? "\(all.count) jobs of kind backup are declared",
            hint: all.isEmpty ? "declare one under `maintenance:` in the configuration" : "name one of them: \(names)")
    }
}
