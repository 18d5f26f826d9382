package import Foundation

/// Where a bundle goes: one HAProxy; implemented in CertsHAProxy, checked by `TargetConformance`.
///
/// Every method may be called again after a crash in the middle of it, and must then end in the same state.
package protocol DeploymentTarget: Sendable {
    var declaration: NodeDeclaration { get }

    /// Looks at what is live and says how to restore it. Changes nothing.
    /// - Parameter fallback: the bundle that was deployed last: what HAProxy has in memory cannot be read back, so if
    ///   memory differs from the disk and equals this one, this one is what a rollback restores.
    func prepare(_ bundle: StagedBundle, fallback: StagedBundle?, now: Date) async throws -> PreparedDeployment

    /// Makes the bundles live: in HAProxy and on disk, with at most one reload for all of them.
    /// - Returns: for each, why it failed; the others go on.
    func apply(_ deployments: [BundleDeployment]) async -> [CertsError?]

    /// Proves by fresh handshakes that each endpoint serves the bundle, and that no other name has changed.
    /// - Throws: `served.other` or `probe.…` with what was seen instead.
    func verify(_ bundle: StagedBundle, receipt: DeploymentReceipt) async throws -> VerifiedDeployment

    /// Brings back what the receipts say was live before, with at most one reload for all of them.
    /// - Returns: for each, why it failed; the others go on.
    func restore(_ restorations: [BundleRestoration]) async -> [CertsError?]

    /// Proves that each endpoint serves what the receipt's baseline says.
    func verifyRestored(_ receipt: DeploymentReceipt) async throws -> [EndpointObservation]

    /// What the endpoints that concern a certificate with these names serve now. Never throws: a problem is part of
    /// the observation.
    func observe(names: [AlternativeName]) async -> [EndpointObservation]

    /// Looks whether a deployment of these certificates would succeed: rights, versions, files, names. Changes nothing.
    func inspect(_ certificates: [CertificateDeclaration]) async -> [Finding]

    /// What a deployment would do, by the method that it would use. Changes nothing.
    /// - Parameters:
    ///   - next: the bundle, where it is issued already.
    ///   - users: every certificate of this node: none of their files is a foreign one.
    func preview(_ certificate: CertificateDeclaration, next: StagedBundle?, among users: [CertificateDeclaration])
        async -> DeploymentPreview

    /// Compares what is declared with the disk, HAProxy's memory and what is served. Changes nothing.
    /// - Parameter current: the bundle that is meant to be live.
    func look(at current: StagedBundle) async -> NodeSight

    /// Copies of the expected bundles that HAProxy loads from the directory of ours, or has loaded. Certificates of
    /// somebody else are not among them. Changes nothing.
    /// - Parameter expected: every bundle that is declared on this host.
    func strangers(besides expected: [ExpectedBundle]) async -> [Stranger]

    /// Takes a stranger out of the directory and out of HAProxy's memory.
    /// - Parameter keep: gets its bytes; they are gone from the directory only after it returned.
    func evict(_ stranger: Stranger, keep: @Sendable (Secret) async throws -> Void) async throws
}

/// A bundle as it stands in the revision's directory.
package struct StagedBundle: Sendable {
    package let certificate: Name
    package let revision: Int
    /// One for each key type; all of them go live, or none.
    package let members: [Member]
    package let names: [AlternativeName]
    /// Some names of other certificates that go to the same node: they must stay as they are.
    package var neighbours: [AlternativeName] = []

    /// Leaf, chain and key of one type, with what HAProxy loads beside them.
    package struct Member: Sendable {
        package let slot: KeyType?
        /// The canonical PEM: leaf, chain, key.
        package let pem: Secret
        package let leaf: CertificateRecord
        package let fingerprint: Fingerprint
        package var companions: [Companion]

        package init(
            slot: KeyType? = nil, pem: Secret, leaf: CertificateRecord, fingerprint: Fingerprint,
            companions: [Companion] = []
        ) {
            self.slot = slot
            self.pem = pem
            self.leaf = leaf
            self.fingerprint = fingerprint
            self.companions = companions
        }
    }

    package init(
        certificate: Name, revision: Int, members: [Member], names: [AlternativeName],
        neighbours: [AlternativeName] = []
    ) {
        self.certificate = certificate
        self.revision = revision
        self.members = members
        self.names = names
        self.neighbours = neighbours
    }

    package var fingerprints: Set<Fingerprint> { Set(members.map(\.fingerprint)) }
}

/// What HAProxy loads beside a bundle (configuration manual §3.1, `ssl-load-extra-files`).
package struct Companion: Sendable, Hashable {
    package let kind: Kind
    /// As the file holds it: DER for `.ocsp`, PEM for `.issuer`, the TLS structure for `.sctl`.
    package let contents: Data

    package enum Kind: String, Sendable, Hashable, Codable, CaseIterable {
        /// The certificate that signed the leaf, where the chain does not have it.
        case issuer
        /// Signed certificate timestamps (RFC 6962 §3.3).
        case sctl
        /// The OCSP response that is stapled. Last: a new bundle wipes it from HAProxy's memory.
        case ocsp
    }

    package init(_ kind: Kind, _ contents: Data) {
        self.kind = kind
        self.contents = contents
    }
}

/// The answer of ``DeploymentTarget/prepare(_:fallback:now:)``: the receipt, and the bytes that it speaks of.
package struct PreparedDeployment: Sendable {
    package let receipt: DeploymentReceipt
    /// One for each file of the receipt, kept in the revision's directory (0600) before the receipt is recorded; `nil`:
    /// there was no file.
    package let previous: [Secret?]
    /// Warnings about the node as it stands.
    package let findings: [Finding]

    package init(receipt: DeploymentReceipt, previous: [Secret?], findings: [Finding] = []) {
        self.receipt = receipt
        self.previous = previous
        self.findings = findings
    }
}

package struct BundleDeployment: Sendable {
    package let bundle: StagedBundle
    package let receipt: DeploymentReceipt
    /// Whether an earlier call may have died half-way; then our own leftovers are undone first.
    package let resuming: Bool

    package init(bundle: StagedBundle, receipt: DeploymentReceipt, resuming: Bool) {
        self.bundle = bundle
        self.receipt = receipt
        self.resuming = resuming
    }
}

package struct BundleRestoration: Sendable {
    package let certificate: Name
    package let receipt: DeploymentReceipt
    /// One for each file of the receipt; `nil`: there was no file.
    package let previous: [Secret?]
    package let resuming: Bool

    package init(certificate: Name, receipt: DeploymentReceipt, previous: [Secret?], resuming: Bool) {
        self.certificate = certificate
        self.receipt = receipt
        self.previous = previous
        self.resuming = resuming
    }
}

/// The answer of ``DeploymentTarget/verify(_:receipt:)``.
package struct VerifiedDeployment: Sendable {
    /// One for each endpoint and name of the certificate.
    package let observations: [EndpointObservation]
    /// What is worth knowing although the proof holds: old workers, a neighbour that somebody else renewed.
    package let findings: [Finding]

    package init(_ observations: [EndpointObservation], findings: [Finding] = []) {
        self.observations = observations
        self.findings = findings
    }
}

// MARK: - Without changing anything

/// What a deployment would do on one node.
package struct DeploymentPreview: Sendable, Hashable {
    /// The reload method, by its word.
    package var method: String
    /// Why this one, and what it proves.
    package var reason: String
    /// What would be sent and written, in order; never key material.
    package var commands: [String]
    /// What is live: one for each key type.
    package var before: [Leaf]
    package var findings: [Finding]

    /// What a person compares of a certificate.
    package struct Leaf: Sendable, Hashable {
        package var path: String
        package var names: [String]
        package var notBefore: Date?
        package var notAfter: Date?
        package var fingerprint: Fingerprint?

        package init(
            path: String, names: [String] = [], notBefore: Date? = nil, notAfter: Date? = nil,
            fingerprint: Fingerprint? = nil
        ) {
            self.path = path
            self.names = names
            self.notBefore = notBefore
            self.notAfter = notAfter
            self.fingerprint = fingerprint
        }
    }

    package init(method: String, reason: String, commands: [String], before: [Leaf], findings: [Finding]) {
        self.method = method
        self.reason = reason
        self.commands = commands
        self.before = before
        self.findings = findings
    }
}

/// What is found in each place where a certificate of one node can be.
package struct NodeSight: Sendable, Hashable {
    package var members: [Member]

    package struct Member: Sendable, Hashable {
        package var slot: KeyType?
        package var path: String
        package var declared: Fingerprint
        package var disk: Place
        package var memory: Place
        package var served: [EndpointObservation]

        package init(
            slot: KeyType?, path: String, declared: Fingerprint, disk: Place, memory: Place,
            served: [EndpointObservation]
        ) {
            self.slot = slot
            self.path = path
            self.declared = declared
            self.disk = disk
            self.memory = memory
            self.served = served
        }
    }

    /// One place compared with what is declared.
    package enum Place: Sendable, Hashable {
        case same
        /// Another certificate; its fingerprint (SHA-256, or SHA-1 where HAProxy tells no other) and its validity.
        case other(fingerprint: String, notBefore: Date?, notAfter: Date?)
        /// The same leaf, but other bytes around it: chain, key or form.
        case edited
        /// Bytes without any certificate.
        case junk
        case missing
        case unknown(why: String)
        /// The reload method has no way to look there.
        case hidden
    }

    package init(members: [Member]) {
        self.members = members
    }
}

/// A bundle that has its place in a directory.
package struct ExpectedBundle: Sendable, Hashable {
    /// As this host names it.
    package let path: String
    package let certificate: Name
    package let names: [AlternativeName]

    package init(path: String, certificate: Name, names: [AlternativeName]) {
        self.path = path
        self.certificate = certificate
        self.names = names
    }
}

/// A copy of a bundle that HAProxy loads, or will load at its next start, beside the bundle itself.
package struct Stranger: Sendable, Hashable {
    /// As this host names it.
    package var path: String
    /// The one that it is a copy of.
    package var certificate: Name
    package var isOnDisk: Bool
    /// Under which HAProxy holds it in memory; `nil`: not yet, or not known.
    package var storeName: String?
    /// The list that it is in.
    package var list: String?

    package init(
        path: String, certificate: Name, isOnDisk: Bool = true, storeName: String? = nil, list: String? = nil
    ) {
        self.path = path
        self.certificate = certificate
        self.isOnDisk = isOnDisk
        self.storeName = storeName
        self.list = list
    }
}
