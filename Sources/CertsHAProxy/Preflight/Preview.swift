package import CertsCore
import CertsCrypto
package import Foundation

// What a deployment would do: from the declarations and what is live, without sending anything that changes something.

extension RuntimeTarget {
    package func preview(_ certificate: CertificateDeclaration, next: StagedBundle?, now: Date) async
        -> DeploymentPreview
    {
        var commands: [String] = []
        let list = try? await session.list()
        for member in certificate.key.members {
            let path = declaration.loadedPath(for: certificate.name, slot: member.slot)
            let known = list.flatMap { try? RuntimeSession.find(path, in: $0) }
            let size =
                next?.members.first { $0.slot == member.slot }.map { "\($0.pem.count) bytes" } ?? "the new bundle"
            if known == nil, declaration.list != nil { commands.append("new ssl cert \(path)") }
            commands.append("set ssl cert \(known?.rawValue ?? path) <<  (\(size))")
            if certificate.staple { commands.append("set ssl cert \(known?.rawValue ?? path).ocsp <<") }
            commands.append("commit ssl cert \(known?.rawValue ?? path)")
            if known == nil, let declared = declaration.list {
                commands.append("add ssl crt-list \(declared.path) \(path)")
            }
        }
        commands += declaration.paths(of: certificate).map { "replace \($0) by a rename" }
        var findings = await inspect([certificate])
        if let next { findings += sizes(next, list) }
        return DeploymentPreview(
            method: "runtime", reason: declaration.reload.proof, commands: commands,
            before: await bundleFiles.leaves(of: certificate), findings: findings)
    }

    private func sizes(_ bundle: StagedBundle, _ list: RuntimeReply.CertificateList?) -> [Finding] {
        bundle.members.compactMap { member -> Finding? in
            let path = declaration.loadedPath(for: bundle.certificate, slot: member.slot)
            guard let name = try? StoreName(path) else { return nil }
            do {
                _ = try RuntimeCommand.set(name, member.pem)
                return nil
            } catch {
                return Finding(error: .wrapping(error), id: "bundle-too-large")
            }
        }
    }
}

extension ReloadTarget {
    package func preview(_ certificate: CertificateDeclaration, next: StagedBundle?, now: Date) async
        -> DeploymentPreview
    {
        var commands = declaration.paths(of: certificate).map { "replace \($0) by a rename" }
        if let validate = declaration.validate { commands.append(validate.arguments.joined(separator: " ")) }
        return DeploymentPreview(
            method: method.word, reason: method.proof, commands: commands + method.commands,
            before: await bundleFiles.leaves(of: certificate), findings: await inspect([certificate]))
    }
}

extension BundleFiles {
    /// What lies on the disk now.
    func leaves(of certificate: CertificateDeclaration) async -> [DeploymentPreview.Leaf] {
        var leaves: [DeploymentPreview.Leaf] = []
        for path in node.paths(of: certificate) {
            let file = try? await files.read(path, limit: Self.sizeLimit)
            guard let leaf = file.flatMap({ CanonicalBundle.leaf(of: $0.contents) }) else {
                leaves.append(.init(path: path))
                continue
            }
            leaves.append(
                .init(
                    path: path, names: leaf.record.dnsNames + leaf.record.ipAddresses,
                    notBefore: leaf.record.notBefore, notAfter: leaf.record.notAfter, fingerprint: leaf.fingerprint))
        }
        return leaves
    }
}
