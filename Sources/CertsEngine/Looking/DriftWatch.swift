package import CertsCore
import Foundation
import Logging

/// Compares what is declared with the disk, the memory and the handshakes of every node, and mends what differs.
extension RotationEngine {
    /// - Parameter names: the certificates to look at; `nil`: all.
    package func drift(of names: Set<Name>? = nil) async throws -> [Drift] {
        let declared = context.declarations.certificates.filter { names?.contains($0.name) ?? true }
        var found: [Drift] = []
        for result in await concurrently(declared, width: width, { await self.drift(of: $0) }) {
            found += try result.get()
        }
        for node in context.declarations.targets.flatMap(\.nodes) {
            found += await strangers(on: node).map(\.drift)
        }
        return found
    }

    private func drift(of declaration: CertificateDeclaration) async -> Swift.Result<[Drift], any Error> {
        do {
            guard let revision = try await context.inventory.state(of: declaration.name)?.revision else {
                return .success([])
            }
            let bundle = try await context.stagedBundle(declaration.name, revision)
            var found: [Drift] = []
            for node in context.declarations.nodes(of: declaration).map(\.id) {
                let sight = try await context.target(node).look(at: bundle)
                found += sight.members.compactMap { Drift.of($0, certificate: declaration.name, on: node) }
            }
            return .success(found)
        } catch {
            return .failure(error)
        }
    }

    private struct FoundStranger: Sendable {
        let node: NodeID
        let stranger: Stranger

        var drift: Drift {
            Drift(
                node: node, certificate: nil, path: stranger.path, kind: .extraFile,
                message: stranger.storeName == nil
                    ? "HAProxy will load this copy at its next start, and may serve it"
                    : "HAProxy has loaded this copy, and may serve it",
                remedy: "`certs drift --repair` moves it into the state directory")
        }
    }

    private func strangers(on node: NodeDeclaration) async -> [FoundStranger] {
        let users = context.declarations.certificates.filter { $0.targets.contains(node.id.target) }
        guard !users.isEmpty, let target = context.targets[node.id] else { return [] }
        let expected = users.flatMap { user in
            user.key.members.map { node.bundlePath(for: user.name, slot: $0.slot) }
        }
        return await target.strangers(besides: Set(expected)).map { FoundStranger(node: node.id, stranger: $0) }
    }

    /// Mends what was found: copies are moved aside, and the declared revision is deployed again and verified.
    package func repair(_ drift: [Drift]) async throws -> [Result] {
        if drift.contains(where: { $0.kind == .extraFile }) {
            for node in context.declarations.targets.flatMap(\.nodes) {
                for found in await strangers(on: node) { try await evict(found) }
            }
        }
        let certificates = Set(drift.compactMap(\.certificate))
        return await redeploy(certificates.sorted())
    }

    private func evict(_ found: FoundStranger) async throws {
        let (node, path) = (found.node, found.stranger.path)
        let keeper = context.quarantine
        try await context.target(node).evict(found.stranger) { contents in
            let kept = try await keeper.keep(contents, of: node, path: path)
            context.logger.notice(
                "moved a copy aside", metadata: ["target": "\(node)", "file": "\(path)", "kept": "\(kept)"])
        }
    }
}
