package import CertsCore
package import CertsCrypto
import Foundation

// Reading what a revision's directory holds, as values.
extension EngineContext {
    /// - Throws: `file.missing` when the revision was never accepted, `state.corrupt` when the manifest cannot be read.
    package func manifest(of certificate: Name, revision: Int) async throws -> RevisionManifest {
        guard let json = try await revisions.read(.manifest, of: certificate, revision: revision) else {
            throw CertsError(
                .fileMissing, "revision \(revision) of '\(certificate)' was never issued",
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
    package func storedChain(_ certificate: Name, _ revision: Int) async throws -> [Certificate] {
        guard let leaf = try await revisions.read(.certificate, of: certificate, revision: revision) else {
            throw CertsError(
                .fileMissing, "the certificate of '\(certificate)' revision \(revision) is gone",
                subject: certificate.rawValue,
                hint: "issue anew with `certs rotate \(certificate)`")
        }
        var chain = try CertificateReader.certificates(in: leaf.withBytes { Data($0) })
        if let rest = try await revisions.read(.chain, of: certificate, revision: revision), rest.count > 0 {
            chain += try CertificateReader.certificates(in: rest.withBytes { Data($0) })
        }
        return chain
    }

    package func stagedBundle(_ certificate: Name, _ revision: Int) async throws -> StagedBundle {
        let manifest = try await manifest(of: certificate, revision: revision)
        guard let pem = try await revisions.read(.bundle, of: certificate, revision: revision),
            let fingerprint = manifest.record.fingerprint
        else {
            throw CertsError(
                .fileMissing, "the bundle of '\(certificate)' revision \(revision) is gone",
                subject: certificate.rawValue,
                hint: "issue anew with `certs rotate \(certificate)`")
        }
        return StagedBundle(
            certificate: certificate, revision: revision, pem: pem, leaf: manifest.record, fingerprint: fingerprint,
            names: manifest.requested.names)
    }
}
