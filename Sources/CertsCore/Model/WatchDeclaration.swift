package import Foundation

/// A directory whose certificates are watched: read and exported, never managed.
package struct WatchedDirectory: Sendable, Hashable {
    /// The first part of the `cert` label of each of its files, and the `source` label.
    package var name: Name
    /// An absolute path.
    package var path: String
    package var isRecursive: Bool
    /// Where the passphrase of its PKCS#12 files is; an absolute path.
    package var passphraseFile: String?

    package init(name: Name, path: String, isRecursive: Bool = true, passphraseFile: String? = nil) {
        self.name = name
        self.path = path
        self.isRecursive = isRecursive
        self.passphraseFile = passphraseFile
    }

    /// Whether a file belongs to it.
    package func covers(_ file: String) -> Bool {
        PathKey(file) == PathKey(path) || file.path(below: path) != nil
    }
}

/// An endpoint of somebody else whose certificate is watched.
package struct WatchedEndpoint: Sendable, Hashable {
    package var endpoint: Endpoint

    package init(_ endpoint: Endpoint) { self.endpoint = endpoint }

    /// Unique among all labels `cert`: names of managed certificates have no colon, and those of files have a slash
    /// before the first one.
    package var label: String { endpoint.serverName.map { "\(endpoint.address)/\($0)" } ?? endpoint.address }
}

/// What is watched, and how often it is looked at.
package struct WatchDeclaration: Sendable, Hashable {
    package var directories: [WatchedDirectory]
    package var endpoints: [WatchedEndpoint]
    /// Between two looks at the directories, in seconds. What a notification of the kernel tells is looked at sooner.
    package var scanInterval: TimeInterval
    /// Between two handshakes with the same endpoint, in seconds.
    package var probeInterval: TimeInterval

    package init(
        directories: [WatchedDirectory] = [], endpoints: [WatchedEndpoint] = [], scanInterval: TimeInterval = 30,
        probeInterval: TimeInterval = 300
    ) {
        self.directories = directories
        self.endpoints = endpoints
        self.scanInterval = scanInterval
        self.probeInterval = probeInterval
    }

    package var isEmpty: Bool { directories.isEmpty && endpoints.isEmpty }

    /// Names that no directory may have: they are sources of their own.
    package static let reservedNames = [handScanned, endpointSource, managedSource]
    /// The source of the files that `certs scan DIRECTORY` found.
    package static let handScanned = "scan"
    package static let endpointSource = "endpoints"
    package static let managedSource = "managed"
}
