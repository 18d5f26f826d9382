/// One number that the last run of a job found; it stands until a later run finds another.
package struct JobMeasure: Sendable, Hashable {
    package var kind: Kind
    /// Beside `job`, which each has.
    package var labels: [String: String]
    package var value: Double

    package init(_ kind: Kind, _ labels: [String: String] = [:], _ value: Double) {
        self.kind = kind
        self.labels = labels
        self.value = value
    }

    /// The metrics that runs feed, by their names.
    package enum Kind: String, Sendable, Hashable, CaseIterable {
        case commandSeconds = "certs_job_command_seconds"
        case redisKeysWithoutExpiry = "certs_redis_keys_without_expiry"
        case vacuumedDeadRows = "certs_pg_vacuum_dead_rows"
        case vacuumHeldRows = "certs_pg_vacuum_unremovable_rows"
        case vacuumIndexScans = "certs_pg_vacuum_index_scans"
        case rewriteFreedBytes = "certs_pg_rewrite_freed_bytes"
        case reindexFreedBytes = "certs_pg_reindex_freed_bytes"
        case leftoversDropped = "certs_pg_reindex_leftovers_dropped"
        case tableBytes = "certs_pg_table_bytes"
        case deadRatio = "certs_pg_table_dead_ratio"
        case bloatBytes = "certs_pg_table_bloat_bytes"
        case unusedIndexBytes = "certs_pg_unused_index_bytes"
        case invalidIndexes = "certs_pg_invalid_indexes"
        case unindexedReferences = "certs_pg_unindexed_foreign_keys"
        case xminAgeSeconds = "certs_pg_xmin_age_seconds"
        case xminAgeTransactions = "certs_pg_xmin_age_transactions"
        case backupSuccess = "certs_backup_last_success_timestamp_seconds"
        case backupBytes = "certs_backup_size_bytes"
        case backupSeconds = "certs_backup_duration_seconds"
        case backupOffsite = "certs_backup_offsite_last_success_timestamp_seconds"
        case restoreTestSuccess = "certs_restore_test_last_success_timestamp_seconds"
        case restoreTestSeconds = "certs_restore_test_duration_seconds"
        case restoreTestAge = "certs_restore_test_backup_age_seconds"
        case packagesPending = "certs_packages_pending"
        case securityPending = "certs_packages_security_pending"
        case rebootRequired = "certs_reboot_required"
        case servicesToRestart = "certs_services_to_restart"
        case imageUpdate = "certs_image_update_available"
        case modulesPending = "certs_go_modules_pending"

        package var help: String {
            switch self {
            case .redisKeysWithoutExpiry: "Keys of Redis that never expire, though they should."
            case .commandSeconds: "How long the program took that the job ran last."
            case .vacuumedDeadRows: "Dead rows of each table before and after the last vacuum of it."
            case .vacuumHeldRows: "Dead rows that the last vacuum had to leave: a transaction may still see them."
            case .vacuumIndexScans: "How often the last vacuum read the indexes of the table."
            case .rewriteFreedBytes: "What the last VACUUM FULL gave back of each table."
            case .reindexFreedBytes: "What the last rebuild gave back of each index."
            case .leftoversDropped: "Invalid indexes that rebuilds had left and the last run dropped."
            case .tableBytes: "Size of the largest tables: heap, toast, indexes."
            case .deadRatio: "Dead rows as a part of all rows of the table."
            case .bloatBytes: "Dead and free bytes of the table, where pgstattuple can be used."
            case .unusedIndexBytes: "Size of an index that nothing has used since the statistics began."
            case .invalidIndexes: "Indexes that are kept up but cannot be used."
            case .unindexedReferences: "Foreign keys without an index on their columns."
            case .xminAgeSeconds: "Age of the oldest transaction that holds vacuum back."
            case .xminAgeTransactions: "How many transactions ago the oldest snapshot, slot or prepared one began."
            case .backupSuccess: "When the newest backup that was read back whole shows the database."
            case .backupBytes: "Size of the newest backup."
            case .backupSeconds: "How long the newest backup took."
            case .backupOffsite: "When the newest backup that was copied elsewhere shows the database."
            case .restoreTestSuccess: "When a backup was last restored and found to be what it should."
            case .restoreTestSeconds: "How long that restore took until it was compared (RTO)."
            case .restoreTestAge: "How old that backup was (RPO)."
            case .packagesPending: "Packages of which there is a newer version, by where it comes from."
            case .securityPending: "Packages whose newer version mends a vulnerability."
            case .rebootRequired: "1 while an update waits for a restart of the machine."
            case .servicesToRestart: "Services that still run what an update has replaced."
            case .imageUpdate: "1 while the registry has another image under the name of one that runs."
            case .modulesPending: "Go modules of which there is a newer version, by the directory of the project."
            }
        }
    }
}
