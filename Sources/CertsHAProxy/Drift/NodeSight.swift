package import CertsCore
import CertsCrypto
import Foundation

// Declared = on disk = in memory = served: each place looked at by itself.

extension RuntimeTarget {
    package func look(at current: StagedBundle) async -> NodeSight {
        let list: Result<RuntimeReply.CertificateList, any Error> = await Result { try await session.list() }
        return await bundleFiles.look(at: current, proof: proof) { member, path in
            // HAProxy could die of the question.
            guard ShownText.fits(member.pem) else { return .hidden }
            do {
                let known = try RuntimeSession.find(path, in: try list.get())
                guard let known, let details = try await lists.glance(known) else { return .missing }
                if RuntimeSession.matches(details.stored, member.leaf) { return .same }
                if await session.unaskable(known) != nil { return .hidden }
                return await other(details, current.certificate, member.slot)
            } catch {
                return .unknown(why: CertsError.wrapping(error).message)
            }
        }
    }
}

extension RuntimeTarget {
    /// HAProxy tells the SHA-1 only: where the file holds the same certificate, its name is the file's.
    private func other(
        _ details: RuntimeReply.StoredCertificateDetails, _ certificate: Name, _ slot: KeyType?
    ) async -> NodeSight.Place {
        let path = declaration.bundlePath(for: certificate, slot: slot)
        let file = try? await files.read(path, limit: BundleFiles.sizeLimit)
        if let leaf = file.flatMap({ CanonicalBundle.leaf(of: $0.contents) }), leaf.record.sha1 == details.stored.sha1 {
            return .other(
                fingerprint: leaf.fingerprint.hex, notBefore: leaf.record.notBefore, notAfter: leaf.record.notAfter)
        }
        return .other(fingerprint: "SHA-1 \(details.stored.sha1)", notBefore: nil, notAfter: details.notAfter)
    }
}

extension ReloadTarget {
    package func look(at current: StagedBundle) async -> NodeSight {
        await bundleFiles.look(at: current, proof: proof) { _, _ in .hidden }
    }
}

extension BundleFiles {
    /// - Parameter memory: what HAProxy holds of a member that it loads from a path of its own.
    fileprivate func look(
        at current: StagedBundle, proof: EndpointProof,
        memory: @Sendable (StagedBundle.Member, String) async -> NodeSight.Place
    ) async -> NodeSight {
        var members: [NodeSight.Member] = []
        for member in current.members {
            let path = node.bundlePath(for: current.certificate, slot: member.slot)
            let questions = node.probes(for: current.names).map {
                Sighting.Question($0, ClientProfile(keyType: member.slot))
            }
            members.append(
                NodeSight.Member(
                    slot: member.slot, path: path, declared: member.fingerprint, disk: await disk(path, member),
                    memory: await memory(member, node.loadedPath(for: current.certificate, slot: member.slot)),
                    served: await proof.look(questions, now: Date()).map(\.observation)))
        }
        return NodeSight(members: members)
    }

    private func disk(_ path: String, _ member: StagedBundle.Member) async -> NodeSight.Place {
        do {
            guard let live = try await files.read(path, limit: Self.sizeLimit) else { return .missing }
            if live.contents == member.pem { return .same }
            guard let leaf = CanonicalBundle.leaf(of: live.contents) else { return .junk }
            if leaf.fingerprint == member.fingerprint { return .edited }
            return .other(
                fingerprint: leaf.fingerprint.hex, notBefore: leaf.record.notBefore, notAfter: leaf.record.notAfter)
        } catch {
            return .unknown(why: CertsError.wrapping(error).message)
        }
    }
}
