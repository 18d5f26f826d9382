package import CertsCore
import CertsCrypto
import Foundation

// What a deployment would do: from the declarations and what is live, without sending anything that changes something.

extension RuntimeTarget {
    package func preview(
        _ certificate: CertificateDeclaration, next: StagedBundle?, among users: [CertificateDeclaration]
    ) async -> DeploymentPreview {
        let list = try? await session.list()
        var findings = await inspect([certificate], among: users)
        if let next {
            // The size of what is live tells only as long as nothing better is known.
            findings = findings.filter { $0.id != "bundle-too-large" } + sizes(next, list)
        }
        return DeploymentPreview(
            method: "runtime", reason: declaration.reload.proof, commands: await commands(certificate, next, list),
            before: await bundleFiles.leaves(of: certificate), findings: findings)
    }

    private func commands(
        _ certificate: CertificateDeclaration, _ next: StagedBundle?, _ list: RuntimeReply.CertificateList?
    ) async -> [String] {
        var commands: [String] = []
        var lines: [String] = []
        for member in certificate.key.members {
            let path = declaration.loadedPath(for: certificate.name, slot: member.slot)
            let known = list.flatMap { try? RuntimeSession.find(path, in: $0) }
            let growing = known == nil ? await growingList() : nil
            let name = (known ?? growing.flatMap { try? CrtListSession.storeName(for: path, in: $0) })?.rawValue ?? path
            let size =
                next?.members.first { $0.slot == member.slot }.map { "\($0.pem.count) bytes" } ?? "the new bundle"
            if growing != nil { commands.append("new ssl cert \(name)") }
            commands.append("set ssl cert \(name) <<  (\(size))")
            if certificate.staple { commands.append("set ssl cert \(name).ocsp <<") }
            commands.append("commit ssl cert \(name)")
            guard let growing else { continue }
            commands.append("add ssl crt-list \(growing) \(name)")
            if StoreName.normalized(growing.rawValue) != OwnBundles.split(path)?.directory {
                lines.append("add a line for \(path) to \(declaration.listFile ?? growing.rawValue) by a rename")
            }
        }
        return commands + declaration.paths(of: certificate).map { "replace \($0) by a rename" } + lines
    }

    /// The list that a certificate which HAProxy does not have yet is added to.
    private func growingList() async -> StoreName? {
        guard let declared = declaration.list else { return nil }
        if let known = try? await lists.list(at: declared.path) { return known }
        return try? StoreName(declared.path)
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
    package func preview(
        _ certificate: CertificateDeclaration, next: StagedBundle?, among users: [CertificateDeclaration]
    ) async -> DeploymentPreview {
        var commands = declaration.paths(of: certificate).map { "replace \($0) by a rename" }
        if let validate = declaration.validate { commands.append(validate.arguments.joined(separator: " ")) }
        return DeploymentPreview(
            method: method.word, reason: method.proof, commands: commands + method.commands,
            before: await bundleFiles.leaves(of: certificate), findings: await inspect([certificate], among: users))
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
