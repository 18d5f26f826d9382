package import Foundation

/// What was live on a node before a deployment: enough to restore it and to prove that it is restored.
package struct DeploymentReceipt: Sendable, Hashable, Codable {
    /// The reload method that was chosen, by its word, and why it is not the declared one, if so.
    package var method: String
    package var reason: String?
    /// Whether applying it makes HAProxy read its files again: many bundles then share one reload.
    package var reloads: Bool
    /// In the order in which they are replaced.
    package var files: [FileReceipt]
    /// What each handshake of the proof showed before; the rollback is verified against it.
    package var baseline: [Sighting]
    package var takenAt: Date

    package init(
        method: String, reason: String? = nil, reloads: Bool, files: [FileReceipt], baseline: [Sighting], takenAt: Date
    ) {
        self.method = method
        self.reason = reason
        self.reloads = reloads
        self.files = files
        self.baseline = baseline
        self.takenAt = takenAt
    }

    /// The leaves that were live: of each member's file.
    package var previousLeaves: Set<Fingerprint> { Set(files.compactMap { $0.previous?.leaf }) }
}

/// One file of a node that a deployment replaces, and what was there.
package struct FileReceipt: Sendable, Hashable, Codable {
    /// As this host names it.
    package var path: String
    package var role: Role
    /// The name under which HAProxy holds it in memory (`show ssl cert`); `nil`: it does not yet, or the method has no
    /// use for it.
    package var storeName: String?
    /// `nil`: there was no file.
    package var previous: PreviousFile?

    package enum Role: Sendable, Hashable, Codable {
        /// Leaf, chain and key; of one key type where there are several.
        case bundle(slot: KeyType?)
        case companion(Companion.Kind, slot: KeyType?)
        /// The list of a `bind` that a new certificate gets a line in.
        case list
    }

    package init(path: String, role: Role, storeName: String? = nil, previous: PreviousFile?) {
        self.path = path
        self.role = role
        self.storeName = storeName
        self.previous = previous
    }
}

/// The bytes that a rollback restores; the bytes themselves are kept beside the revision, never in a journal.
package struct PreviousFile: Sendable, Hashable, Codable {
    /// SHA-256 of the bytes, hexadecimal.
    package var digest: String
    package var attributes: FileAttributes
    /// The leaf in it, if it is a bundle and could be read.
    package var leaf: Fingerprint?

    package init(digest: String, attributes: FileAttributes, leaf: Fingerprint?) {
        self.digest = digest
        self.attributes = attributes
        self.leaf = leaf
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
