import CertsCore
import CertsCrypto
import Foundation

/// `orders/CERTIFICATE/order-TYPE.json`: an order that is under way, written before each step that must not be repeated.
///
/// The private key is on disk before there is a record, and the chain is on disk (with the engine) before the record is
/// replaced by that of the next order.
struct OrderRecord: Codable, Sendable {
    var issuer: Name
    var directory: String
    var account: String
    var order: String
    var identifiers: [Identifier]
    /// As it was asked for.
    var profile: String?
    /// The rotation that the request is of: with a key that is used again, each asks for another certificate.
    var rotation: String
    /// base64 of the SHA-256 of the SubjectPublicKeyInfo that the request is for.
    var spkiSHA256: String
    /// PKCS#10, DER; there before it is sent.
    var csr: Data?
    /// Set before the request is handed in.
    var finalizedAt: Date?
    var certificate: String?

    /// Whether the order is one of this account for these names.
    func isFor(
        _ identifiers: [Identifier], profile: String?, issuer: Name, directory: String, account: String
    ) -> Bool {
        self.issuer == issuer && self.directory == directory && self.account == account && self.profile == profile
            && Set(self.identifiers) == Set(identifiers)
    }
}

/// `orders/CERTIFICATE/proofs.json`: what has been shown to CAs and not been taken away yet. It outlives the order that it
/// was shown for.
struct ShownProof: Codable, Sendable, Hashable {
    /// Whose solvers can take it away.
    var issuer: Name
    /// URL of the order that it is for.
    var order: String
    var proof: ChallengeProof
}

/// The records of one certificate: one for each type of key, and one of what is shown.
struct OrderRecords: Sendable {
    let files: any IssuerFiles
    let certificate: Name
    let file: String
    private static let proofsFile = "proofs.json"
    /// Of proofs that cannot be taken away; the oldest are forgotten.
    private static let proofLimit = 300
    let faults: FaultPoints

    init(files: any IssuerFiles, certificate: Name, keyType: String, faults: FaultPoints = .none) {
        self.files = files
        self.certificate = certificate
        file = "order-\(keyType).json"
        self.faults = faults
    }

    /// What a record is written for.
    enum Step: String, CaseIterable {
        /// The order's URL is known.
        case order
        /// The request is about to be used.
        case request
        /// Answers to challenges are about to be shown.
        case proofs
        /// They have been taken away.
        case clearing
        /// The request is about to be handed in.
        case finalization
        /// The certificate's URL is known.
        case certificate

        /// The fault points around the write, as `CERTS_FAULT` names them.
        var faultPoints: [String] { ["before-order-\(rawValue)", "after-order-\(rawValue)"] }
    }

    /// A record that cannot be read is of no use: the order is made anew.
    func load() async throws -> OrderRecord? {
        guard let text = try await files.read(file, of: certificate, in: .orders) else { return nil }
        return try? StoredJSON.decode(OrderRecord.self, from: text.withBytes { Data($0) })
    }

    func save(_ record: OrderRecord, for step: Step) async throws {
        try faults.reached("before-order-\(step.rawValue)")
        let text = Secret(copying: try StoredJSON.encode(record, readable: true))
        try await files.write(text, to: file, of: certificate, in: .orders)
        try faults.reached("after-order-\(step.rawValue)")
    }

    func remove() async throws {
        try await files.remove(file, of: certificate, in: .orders)
    }

    func shownProofs() async throws -> [ShownProof] {
        guard let text = try await files.read(Self.proofsFile, of: certificate, in: .orders) else { return [] }
        return (try? StoredJSON.decode([ShownProof].self, from: text.withBytes { Data($0) })) ?? []
    }

    func save(_ shown: [ShownProof], for step: Step) async throws {
        try faults.reached("before-order-\(step.rawValue)")
        if shown.isEmpty {
            try await files.remove(Self.proofsFile, of: certificate, in: .orders)
        } else {
            let text = Secret(copying: try StoredJSON.encode(Array(shown.suffix(Self.proofLimit)), readable: true))
            try await files.write(text, to: Self.proofsFile, of: certificate, in: .orders)
        }
        try faults.reached("after-order-\(step.rawValue)")
    }
}
