package import Foundation

/// One revision applied to one target.
package struct Deployment: Sendable, Hashable, Codable {
    package let target: Name
    package internal(set) var state: State
    /// How to restore what was live before; recorded in the journal before anything is changed.
    package internal(set) var receipt: DeploymentReceipt?

    package init(target: Name) {
        self.target = target
        self.state = .pending
    }

    package enum State: String, Sendable, Codable {
        case pending, prepared, applied, verified
        case rolledBack = "rolled-back"
        case failed
    }
}

/// What was live on a target before a deployment: enough to restore it and to prove that it is restored.
package struct DeploymentReceipt: Sendable, Hashable, Codable {
    /// The live path of the bundle.
    package var bundlePath: String
    /// `nil`: there was no file.
    package var previous: PreviousBundle?
    /// The names under which HAProxy holds the bundle in memory (`show ssl cert`), where the method uses them.
    package var storeNames: [String]
    /// What each endpoint served; the rollback is verified against it.
    package var baseline: [EndpointObservation]
    package var takenAt: Date

    package init(
        bundlePath: String, previous: PreviousBundle?, storeNames: [String] = [], baseline: [EndpointObservation],
        takenAt: Date
    ) {
        self.bundlePath = bundlePath
        self.previous = previous
        self.storeNames = storeNames
        self.baseline = baseline
        self.takenAt = takenAt
    }

    /// The bytes that a rollback restores; the bytes themselves are kept beside the revision, never in a journal.
    package struct PreviousBundle: Sendable, Hashable, Codable {
        /// SHA-256 of the bytes, hexadecimal.
        package var digest: String
        package var attributes: FileAttributes
        /// The leaf in it, if it could be read.
        package var leaf: Fingerprint?

        package init(digest: String, attributes: FileAttributes, leaf: Fingerprint?) {
            self.digest = digest
            self.attributes = attributes
            self.leaf = leaf
        }
    }
}

/// Owner and mode of a file that is replaced: the new file gets the same.
package struct FileAttributes: Sendable, Hashable, Codable {
    package var mode: UInt32
    package var owner: UInt32
    package var group: UInt32

    package init(mode: UInt32, owner: UInt32, group: UInt32) {
        self.mode = mode
        self.owner = owner
        self.group = group
    }
}

/// What one endpoint was seen serving, and when.
package struct EndpointObservation: Sendable, Hashable, Codable {
    package var endpoint: Endpoint
    /// The leaf that was served; `nil`: not known.
    package var served: Fingerprint?
    package var servedNotAfter: Date?
    /// Why nothing is known, if so.
    package var problem: String?
    package var observedAt: Date

    package init(
        endpoint: Endpoint, served: Fingerprint?, servedNotAfter: Date? = nil, problem: String? = nil, observedAt: Date
    ) {
        self.endpoint = endpoint
        self.served = served
        self.servedNotAfter = servedNotAfter
        self.problem = problem
        self.observedAt = observedAt
    }
}

/// The state of one certificate on one target, as last seen.
package struct TargetObservation: Sendable, Hashable, Codable {
    package var target: Name
    package var state: Deployment.State
    package var endpoints: [EndpointObservation]

    package init(target: Name, state: Deployment.State, endpoints: [EndpointObservation]) {
        self.target = target
        self.state = state
        self.endpoints = endpoints
    }
}
