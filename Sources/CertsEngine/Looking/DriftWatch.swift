package import CertsCore
import Foundation
import Logging

/// Compares what is declared with the disk, the memory and the handshakes of every node, and mends what differs.
extension RotationEngine {
    /// Changes nothing. What cannot be looked at is part of the answer, and hides nothing else.
    /// - Parameter names: the certificates to look at; `nil`: all.
    package func drift(of names: Set<Name>? = nil) async -> [Drift] {
        let declared = context.declarations.certificates.filter { names?.contains($0.name) ?? true }
        let nodes = context.declarations.targets.flatMap(\.nodes)
        let differences = await concurrently(declared, width: width) {
            defer { context.pulse() }
            return await self.drift(of: $0)
        }
        let expected = await expectedBundles()
        let extras = await concurrently(nodes, width: width) {
            defer { context.pulse() }
            return await self.strangers(on: $0, besides: expected)
        }
        return differences.flatMap(\.self)
            + extras.flatMap(\.self).map(\.drift).filter { names?.contains($0.certificate) ?? true }
    }

    private func drift(of declaration: CertificateDeclaration) async -> [Drift] {
        let nodes = context.declarations.nodes(of: declaration)
        func unknown(_ error: any Error) -> [Drift] {
            nodes.map { node in
                .unknown(
                    declaration.name, on: node.id, path: node.bundlePath(for: declaration.name),
                    why: .wrapping(error))
            }
        }
        do {
            guard let revision = try await context.inventory.state(of: declaration.name)?.revision else {
                return nodes.map { node in
                    .undeployed(declaration.name, on: node.id, path: node.bundlePath(for: declaration.name))
                }
            }
            let bundle = try await context.stagedBundle(declaration.name, revision)
            var found: [Drift] = []
            for node in nodes.map(\.id) {
                let sight = try await context.target(node).look(at: bundle)
                found += sight.members.compactMap { Drift.of($0, certificate: declaration.name, on: node) }
            }
            guard !found.isEmpty, try await isBeingRotated(declaration.name, from: revision) else { return found }
            // What is live is half the old and half the new.
            throw CertsError(
                .lockHeld, "a rotation of '\(declaration.name)' has begun and not ended",
                hint: "look again when it has ended; `certs rotate` takes up one that was interrupted")
        } catch {
            return unknown(error)
        }
    }

    private func isBeingRotated(_ name: Name, from revision: Int) async throws -> Bool {
        let open = try await context.journal.openRotation(of: name)
        if open?.deployments.contains(where: \.isTouched) == true { return true }
        return try await context.inventory.state(of: name)?.revision != revision
    }

    // MARK: Copies

    private struct FoundStranger: Sendable {
        let node: NodeID
        let stranger: Stranger

        var drift: Drift {
            let copy = "a copy of '\(stranger.certificate)'"
            let message =
                switch (stranger.isOnDisk, stranger.storeName) {
                case (true, nil): "HAProxy loads \(copy) at its next start at the latest, and may serve it"
                case (true, _?): "HAProxy has loaded \(copy), and may serve it"
                case (false, _): "HAProxy holds \(copy) in memory of which there is no file, and may serve it"
                }
            return Drift(
                node: node, certificate: stranger.certificate, path: stranger.path, kind: .extraFile, message: message,
                remedy: stranger.isOnDisk
                    ? "`certs drift --repair` moves it into the state directory"
                    : "`certs drift --repair` or a reload takes it out of HAProxy's memory")
        }
    }

    private func strangers(on node: NodeDeclaration, besides expected: [ExpectedBundle]) async -> [FoundStranger] {
        guard context.declarations.certificates.contains(where: { $0.targets.contains(node.id.target) }),
            let target = context.targets[node.id]
        else { return [] }
        return await target.strangers(besides: expected).map { FoundStranger(node: node.id, stranger: $0) }
    }

    /// Of all targets: two of them may share a directory.
    private func expectedBundles() async -> [ExpectedBundle] {
        var expected: [ExpectedBundle] = []
        for certificate in context.declarations.certificates {
            let slots = await slots(of: certificate)
            for node in context.declarations.nodes(of: certificate) {
                expected += slots.map { slot in
                    ExpectedBundle(
                        path: node.bundlePath(for: certificate.name, slot: slot), certificate: certificate.name,
                        names: certificate.names)
                }
            }
        }
        return expected
    }

    /// Those that are declared, and those that are live until the declared ones are deployed.
    private func slots(of certificate: CertificateDeclaration) async -> Set<KeyType?> {
        var slots = Set(certificate.key.members.map(\.slot))
        guard let state = try? await context.inventory.state(of: certificate.name), let revision = state.revision else {
            return slots
        }
        let live =
            revision == state.issuedRevision
            ? state.requested : try? await context.manifest(of: certificate.name, revision: revision).requested
        slots.formUnion(KeyPolicy.members(of: live?.keyAlgorithms ?? []).map(\.slot))
        return slots
    }

    // MARK: Repair

    /// Mends what was found: copies are moved aside, and on the nodes that differ the declared revision is deployed
    /// again and verified. What is unknown is left alone.
    package func repair(_ drift: [Drift]) async -> [Result] {
        var failures: [Result] = []
        let copies = Dictionary(grouping: drift.filter { $0.kind == .extraFile }, by: \.node)
        let expected = await expectedBundles()
        for node in context.declarations.targets.flatMap(\.nodes) {
            guard let wanted = copies[node.id].map({ Set($0.map(\.path)) }) else { continue }
            for found in await strangers(on: node, besides: expected) where wanted.contains(found.stranger.path) {
                do {
                    try await evict(found)
                } catch {
                    let path = found.stranger.path
                    context.logger.error("\(path) is still in HAProxy's way: \(CertsError.wrapping(error))")
                    failures.append(.failed(found.stranger.certificate, .wrapping(error, subject: path)))
                }
            }
        }
        var places: [Name: Set<NodeID>] = [:]
        for difference in drift where difference.kind != .unknown && difference.kind != .undeployed {
            // A copy of what was never deployed has nothing that could be deployed again.
            let state = try? await context.inventory.state(of: difference.certificate)
            if difference.kind == .extraFile, state?.revision == nil { continue }
            places[difference.certificate, default: []].insert(difference.node)
        }
        return failures + (await redeploy(places))
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
