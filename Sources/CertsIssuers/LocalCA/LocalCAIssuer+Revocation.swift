package import CertsCore
import CertsCrypto
package import Foundation

extension LocalCAIssuer {
    /// `revoked.json`.
    struct Revocations: Codable {
        var number = 0
        var entries: [Entry] = []

        struct Entry: Codable {
            var serial: String
            var at: Date
            var reason: RevocationReason
        }
    }

    /// How long a CRL is valid; it is made anew at each revocation.
    static let listValidity: TimeInterval = 30 * 86400

    /// The key of the certificate is not needed: the CA is ours.
    package func revoke(_ target: RevocationTarget, reason: RevocationReason, now: Date) async throws {
        let certificate = target.record
        guard let authority = try await load() else {
            throw CertsError(
                .issuerRefused, "the local CA '\(name)' has not issued anything yet", subject: name.rawValue,
                hint: "nothing is left to do")
        }
        guard certificate.issuer == authority.issuing.record.subject else {
            throw CertsError(
                .issuerRefused, "the certificate \(certificate.serial) was not issued by '\(name)'",
                subject: name.rawValue,
                hint: "revoke it at its own issuer: \(certificate.issuer)")
        }
        let lock = try await files.lock(name, in: .authorities, deadline: Self.lockDeadline)
        defer { lock.release() }
        var revocations =
            try await read(File.revoked).map {
                try StoredJSON.decode(Revocations.self, from: $0.withBytes { Data($0) })
            } ?? Revocations()
        if !revocations.entries.contains(where: { $0.serial == certificate.serial }) {
            revocations.entries.append(.init(serial: certificate.serial, at: now, reason: reason))
        }
        revocations.number += 1
        // The list of what is revoked is the truth, and written first: the CRL can be made from it again.
        try await write(Secret(copying: StoredJSON.encode(revocations, readable: true)), to: File.revoked)
        let list = revocations
        let crl = try await BlockingPool.shared.run {
            try authority.revocationList(
                revoked: list.entries.map { (serial: $0.serial, at: $0.at, reason: $0.reason.rawValue) },
                number: list.number,
                now: now, nextUpdate: now.addingTimeInterval(Self.listValidity))
        }
        try await write(Secret(copying: PEM.block("X509 CRL", crl).utf8), to: File.crl)
    }
}
