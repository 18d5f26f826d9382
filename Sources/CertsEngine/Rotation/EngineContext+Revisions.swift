package import CertsCore
package import CertsCrypto
import Foundation

// Reading what a revision's directory holds, as values.
extension EngineContext {
    /// - Throws: `certificate.missing` when the revision was never accepted, `state.corrupt` when the manifest cannot be read.
    package func manifest(of certificate: Name, revision: Int) async throws -> RevisionManifest {
        guard let json = try await revisions.read(.manifest, of: certificate, revision: revision) else {
            throw CertsError(
                .certificateMissing, "revision \(revision) of '\(certificate)' was never issued",
                subject: certificate.rawValue,
                hint: "`certs history \(certificate)` lists its revisions")
        }
        do {
            return try RevisionManifest(decoding: json)
        } catch {
            throw CertsError(
                .stateCorrupt, "revision.json of '\(certificate)' revision \(revision) cannot be read",
                subject: certificate.rawValue, hint: "issue anew with `certs rotate \(certificate)`", cause: error)
        }
    }

    /// Leaf first, then the intermediates.
    package func storedChain(_ certificate: Name, _ revision: Int, _ slot: KeyType? = nil) async throws -> [Certificate]
    {
        guard let leaf = try await revisions.read(.certificate(slot), of: certificate, revision: revision) else {
            throw CertsError(
                .fileMissing, "the certificate of '\(certificate)' revision \(revision) is gone",
                subject: certificate.rawValue,
                hint: "issue anew with `certs rotate \(certificate)`")
        }
        var chain = try CertificateReader.certificates(in: leaf.withBytes { Data($0) })
        if let rest = try await revisions.read(.chain(slot), of: certificate, revision: revision), rest.count > 0 {
            chain += try CertificateReader.certificates(in: rest.withBytes { Data($0) })
        }
        return chain
    }

    package func stagedBundle(_ certificate: Name, _ revision: Int) async throws -> StagedBundle {
        let manifest = try await manifest(of: certificate, revision: revision)
        let keys = KeyPolicy.members(of: manifest.requested.keyAlgorithms)
        var members: [StagedBundle.Member] = []
        for (key, record) in zip(keys, manifest.records) {
            guard let pem = try await revisions.read(.bundle(key.slot), of: certificate, revision: revision),
                let fingerprint = record.fingerprint
            else {
                throw CertsError(
                    .fileMissing, "the bundle of '\(certificate)' revision \(revision) is gone",
                    subject: certificate.rawValue,
                    hint: "issue anew with `certs rotate \(certificate)`")
            }
            let companions = try await companions(of: certificate, revision, key.slot)
            members.append(
                .init(slot: key.slot, pem: pem, leaf: record, fingerprint: fingerprint, companions: companions))
        }
        return StagedBundle(
            certificate: certificate, revision: revision, members: members, names: manifest.requested.names,
            neighbours: neighbours(of: certificate))
    }

    /// What was staged beside the bundle; a staple only while it is wanted and valid, because HAProxy takes no other.
    private func companions(of certificate: Name, _ revision: Int, _ slot: KeyType?) async throws -> [Companion] {
        var companions: [Companion] = []
        for kind in Companion.Kind.allCases {
            let file = RevisionFile.companion(kind, slot)
            if let contents = try await revisions.read(file, of: certificate, revision: revision) {
                companions.append(Companion(kind, contents.withBytes { Data($0) }))
            }
        }
        guard let staple = companions.first(where: { $0.kind == .ocsp }) else { return companions }
        let chain = try await storedChain(certificate, revision, slot)
        let beside = companions.first { $0.kind == .issuer }?.contents
        let issuer = chain.dropFirst().first ?? beside.flatMap { try? CertificateReader.certificates(in: $0).first }
        let end = now.addingTimeInterval(Self.restOfStaple)
        let isValid =
            chain.first.flatMap { leaf in
                issuer.flatMap { try? OCSPStaple(der: staple.contents, leaf: leaf, issuer: $0, now: end) }
            } != nil
        return declared[certificate]?.staple == true && isValid ? companions : companions.filter { $0.kind != .ocsp }
    }

    /// HAProxy 2.6 serves a staple until so many seconds before its end.
    private static let restOfStaple: TimeInterval = 300

    /// A few names of other certificates that go to the same targets: enough to notice that one of them is changed by
    /// accident, few enough not to probe every certificate for each.
    private func neighbours(of certificate: Name) -> [AlternativeName] {
        guard let own = declared[certificate], !own.targets.isEmpty else { return [] }
        let targets = Set(own.targets)
        let all = declarations.certificates
        guard let place = all.firstIndex(where: { $0.name == certificate }) else { return [] }
        let others = (1..<max(1, all.count)).lazy.map { all[(place + $0) % all.count] }
            .filter { !targets.isDisjoint(with: $0.targets) }
        return others.prefix(Self.neighbourLimit).compactMap(\.names.first).filter { !own.names.contains($0) }
    }

    private static let neighbourLimit = 2

    /// base64 of the SHA-256 of each public key of the certificate whose private half somebody else has.
    func compromisedKeys(of certificate: Name) async throws -> Set<String> {
        var keys: Set<String> = []
        for revision in try await revisions.revisions(of: certificate) {
            guard let manifest = try? await manifest(of: certificate, revision: revision), manifest.isKeyCompromised
            else { continue }
            keys.formUnion(manifest.records.map(\.spkiSHA256))
        }
        return keys
    }
}
