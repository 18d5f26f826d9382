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
        case packagesPending = "certs_packages_pending"
        case securityPending = "certs_packages_security_pending"
        case rebootRequired = "certs_reboot_required"
        case servicesToRestart = "certs_services_to_restart"
        case imageUpdate = "certs_image_update_available"
        case modulesPending = "certs_go_modules_pending"

        package var help: String {
            switch self {
            case .commandSeconds: "How long the program took that the job ran last."
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
