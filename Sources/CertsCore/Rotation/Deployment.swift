/// One revision applied to one node.
package struct Deployment: Sendable, Hashable, Codable {
    package let node: NodeID
    /// Nodes of one target with the same number are applied before any of them is verified.
    package let wave: Int
    package internal(set) var state: State
    /// Whether the node may have been changed: set, and recorded in the journal, before it is.
    package internal(set) var isTouched = false
    /// How to restore what was live before; recorded in the journal before anything is changed.
    package internal(set) var receipt: DeploymentReceipt?
    /// What was noticed on the way that does not stop it: drift, old workers that still run.
    package internal(set) var findings: [Finding] = []

    package init(node: NodeID, wave: Int = 0) {
        self.node = node
        self.wave = wave
        self.state = .pending
    }

    package enum State: String, Sendable, Codable {
        case pending, prepared, applied, verified
        case rolledBack = "rolled-back"
        case failed
    }
}
