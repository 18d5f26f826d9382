package import CertsCore
import Foundation

/// What a check of one node found.
package struct NodeInspection: Sendable {
    package let node: NodeID
    package let findings: [Finding]
}

/// What a rotation would do on one node.
package struct PlannedDeployment: Sendable {
    package let item: PlanItem
    package let declaration: CertificateDeclaration
    /// `nil`: the certificate has no targets, and is only issued.
    package let node: NodeID?
    package let preview: DeploymentPreview?
    /// The leaves that would be deployed, where they are issued already.
    package let after: [CertificateRecord]
}

extension RotationEngine {
    /// Looks at every node whether deployments to it would succeed. Changes nothing.
    package func inspectTargets() async -> [NodeInspection] {
        let declarations = context.declarations
        let nodes = declarations.targets.flatMap(\.nodes)
        return await concurrently(nodes, width: width) { node in
            let users = declarations.certificates.filter { $0.targets.contains(node.id.target) }
            guard !users.isEmpty, let target = context.targets[node.id] else {
                return NodeInspection(node: node.id, findings: [])
            }
            return NodeInspection(node: node.id, findings: await target.inspect(users))
        }
    }

    /// What the rotations of a plan would do on each node. Changes nothing.
    package func preview(_ items: [PlanItem]) async -> [PlannedDeployment] {
        await concurrently(items, width: width) { item in await preview(item) }.flatMap { $0 }
    }

    private func preview(_ item: PlanItem) async -> [PlannedDeployment] {
        guard let declaration = context.declared[item.certificate] else { return [] }
        var next: StagedBundle?
        if item.purpose == .deploy, let state = try? await context.inventory.state(of: item.certificate),
            let revision = state.issuedRevision ?? state.revision
        {
            next = try? await context.stagedBundle(item.certificate, revision)
        }
        let after = next?.members.map(\.leaf) ?? []
        let nodes = context.declarations.nodes(of: declaration)
        guard !nodes.isEmpty else {
            return [PlannedDeployment(item: item, declaration: declaration, node: nil, preview: nil, after: after)]
        }
        var planned: [PlannedDeployment] = []
        for node in nodes {
            let users = context.declarations.certificates.filter { $0.targets.contains(node.id.target) }
            let preview = await context.targets[node.id]?.preview(declaration, next: next, among: users)
            planned.append(
                PlannedDeployment(item: item, declaration: declaration, node: node.id, preview: preview, after: after))
        }
        return planned
    }
}
