package import CertsCore

/// What a rollback of one certificate would find. Nothing is changed for it.
package struct RollbackRehearsal: Sendable {
    /// The revision that it would go back to.
    package let revision: Int
    /// Whether somebody would take what it goes back to.
    package let isValid: Bool
    package let findings: [NodeID: [Finding]]

    /// What would keep it from being carried out.
    package var blocking: [String] {
        let blocked = findings.sorted { $0.key.description < $1.key.description }.flatMap { node, findings in
            findings.filter(\.isBlocking).map { "\(node): \($0.message)" }
        }
        return (isValid ? [] : ["revision \(revision) has expired"]) + blocked
    }
}

extension RotationEngine {
    /// Goes through a rollback to the newest earlier revision up to the point where the first thing would be changed: the
    /// revision is there, complete and not revoked, its bundle fits together, and every node would take it.
    ///
    /// - Throws: why there is nothing to go back to.
    package func rehearseRollback(of name: Name) async throws -> RollbackRehearsal {
        guard let declaration = context.declared[name],
            let current = try await context.inventory.state(of: name)?.revision
        else { throw nothingIssued(name) }
        let revision = try await earlierRevision(than: current, of: name)
        try await confirmNotRevoked(name, revision)
        let bundle = try await context.stagedBundle(name, revision)
        var findings: [NodeID: [Finding]] = [:]
        for node in context.declarations.nodes(of: declaration) {
            let users = context.declarations.certificates.filter { $0.targets.contains(node.id.target) }
            findings[node.id] = await context.targets[node.id]?.preview(declaration, next: bundle, among: users)
                .findings
        }
        let isValid = bundle.members.allSatisfy { $0.leaf.notAfter > context.now }
        return RollbackRehearsal(revision: revision, isValid: isValid, findings: findings)
    }
}
