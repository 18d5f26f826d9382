package import Foundation

/// Jobs on this host: what Docker left, files, updates, and what a rollback needs.
package enum HostJob: Sendable, Hashable {
    case cleanUpDocker(DockerCleanUp)
    case rotateLogs(LogRotation)
    case deleteFiles(FileCleanUp)
    case reportUpdates(UpdateCheck)
    case recordDeployments(DeploymentRecording)
    case keepVersions(FileVersioning)

    package var subject: String {
        switch self {
        case .cleanUpDocker(let work): work.engineSocket
        case .rotateLogs(let work): work.configuration
        case .deleteFiles(let work): work.root
        case .reportUpdates: "this host"
        case .recordDeployments(let work): work.engineSocket
        case .keepVersions(let work): work.files.map(\.path).joined(separator: " ")
        }
    }

    package var word: String {
        switch self {
        case .cleanUpDocker: "remove what Docker left"
        case .rotateLogs: "rotate logs"
        case .deleteFiles: "delete old files"
        case .reportUpdates: "report updates"
        case .recordDeployments: "record deployments"
        case .keepVersions: "keep versions of files"
        }
    }
}

/// Containers that ended, unused networks and images, the build cache; volumes only by their labels.
package struct DockerCleanUp: Sendable, Hashable {
    package var engineSocket: String
    /// What was used within this time stays, in seconds.
    package var age: TimeInterval
    /// The images of so many last deployments of each service stay.
    package var keptDeployments: Int
    /// `LABEL` or `LABEL=VALUE`: volumes with one of them may go; without any, none does.
    package var volumeLabels: [String]
    /// A run that would remove more objects than this is refused.
    package var limit: Int

    /// Whatever has it stays.
    package static let keepLabel = "certs.keep"

    package init(
        engineSocket: String = "/var/run/docker.sock", age: TimeInterval = 7 * 86400, keptDeployments: Int = 3,
        volumeLabels: [String] = [], limit: Int = 1000
    ) {
        self.engineSocket = engineSocket
        self.age = age
        self.keptDeployments = keptDeployments
        self.volumeLabels = volumeLabels
        self.limit = limit
    }
}

/// logrotate on a configuration of the users', with a state file of our own.
package struct LogRotation: Sendable, Hashable {
    package var configuration: String

    package init(configuration: String) { self.configuration = configuration }
}

/// Rotated logs and temporary data below a directory.
package struct FileCleanUp: Sendable, Hashable {
    package var root: String
    /// Of file names, as of a shell (fnmatch(3)); without a slash.
    package var patterns: [String]
    /// Since it was last written, in seconds.
    package var age: TimeInterval
    /// So many of the newest that match stay in each directory, however old.
    package var kept: Int
    package var limit: Int
    /// Of all regular files below the root, from 0 to 1; `nil`: no matter how large a part.
    package var share: Double?
    /// Whether to go on where it cannot be known which files other processes have open.
    package var allowsUnknownOpenFiles: Bool

    /// Rotated ones; never the file that is being written.
    package static let usualPatterns = ["*.log.*", "*.log-*", "*.gz"]

    package init(
        root: String, patterns: [String] = Self.usualPatterns, age: TimeInterval = 30 * 86400, kept: Int = 0,
        limit: Int = 10_000, share: Double? = nil, allowsUnknownOpenFiles: Bool = false
    ) {
        self.root = root
        self.patterns = patterns
        self.age = age
        self.kept = kept
        self.limit = limit
        self.share = share
        self.allowsUnknownOpenFiles = allowsUnknownOpenFiles
    }
}

/// What to look at for updates; nothing is changed.
package struct UpdateCheck: Sendable, Hashable {
    /// Whether to load the lists of packages first (`apt-get update`).
    package var refreshesLists: Bool
    package var packages: Bool
    /// The engine whose running containers are compared with their registries; `nil`: none is asked.
    package var engineSocket: String?
    /// Directories of Go modules.
    package var goModules: [String]

    package init(
        refreshesLists: Bool = false, packages: Bool = true, engineSocket: String? = nil, goModules: [String] = []
    ) {
        self.refreshesLists = refreshesLists
        self.packages = packages
        self.engineSocket = engineSocket
        self.goModules = goModules
    }
}

/// The journal of what ran in containers, for rollbacks.
package struct DeploymentRecording: Sendable, Hashable {
    package var engineSocket: String
    /// Deployments to remember of each service.
    package var kept: Int
    /// How long a container without a health check must run to count as healthy, in seconds.
    package var healthyAfter: TimeInterval
    /// How long a rollback waits for that, in seconds.
    package var healthyWithin: TimeInterval

    package init(
        engineSocket: String = "/var/run/docker.sock", kept: Int = 10, healthyAfter: TimeInterval = 10,
        healthyWithin: TimeInterval = 120
    ) {
        self.engineSocket = engineSocket
        self.kept = kept
        self.healthyAfter = healthyAfter
        self.healthyWithin = healthyWithin
    }
}

/// Copies of configuration files, for rollbacks.
package struct FileVersioning: Sendable, Hashable {
    package var files: [File]
    /// Versions to keep of each file.
    package var kept: Int

    package struct File: Sendable, Hashable {
        package var path: String
        /// Says whether the file that lies in its place is fit; its exit code counts. No shell.
        package var validate: [String]?
        /// Makes the service read it.
        package var reload: [String]?

        package init(path: String, validate: [String]? = nil, reload: [String]? = nil) {
            self.path = path
            self.validate = validate
            self.reload = reload
        }
    }

    package init(files: [File], kept: Int = 20) {
        self.files = files
        self.kept = kept
    }
}
