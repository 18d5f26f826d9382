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
        case backupSuccess = "certs_backup_last_success_timestamp_seconds"
        case backupBytes = "certs_backup_size_bytes"
        case backupSeconds = "certs_backup_duration_seconds"
        case backupOffsite = "certs_backup_offsite_last_success_timestamp_seconds"
        case restoreTestSuccess = "certs_restore_test_last_success_timestamp_seconds"
        case restoreTestSeconds = "certs_restore_test_duration_seconds"
        case restoreTestAge = "certs_restore_test_backup_age_seconds"

        package var help: String {
            switch self {
            case .commandSeconds: "How long the program took that the job ran last."
            case .backupSuccess: "When the newest backup that was read back whole shows the database."
            case .backupBytes: "Size of the newest backup."
            case .backupSeconds: "How long the newest backup took."
            case .backupOffsite: "When the newest backup that was copied elsewhere shows the database."
            case .restoreTestSuccess: "When a backup was last restored and found to be what it should."
            case .restoreTestSeconds: "How long that restore took until it was compared (RTO)."
            case .restoreTestAge: "How old that backup was (RPO)."
            }
        }
    }
}
