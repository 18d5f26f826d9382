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

        package var help: String {
            switch self {
            case .redisKeysWithoutExpiry: "Keys of Redis that never expire, though they should."
            case .commandSeconds: "How long the program took that the job ran last."
            }
        }
    }
}
