import CertsCore
import CertsCrypto
import Foundation

/// What was found in the directory of another client.
struct ForeignSurvey: Sendable {
    var certificates: [ForeignCertificate] = []
    var accounts: [ForeignAccount] = []
    var problems: [ForeignProblem] = []
}

/// A certificate with its key, and how the other client renews it, as far as it says.
struct ForeignCertificate: Sendable {
    /// As the other client calls it.
    let label: String
    /// Where the certificate lies, below the directory.
    let place: String
    /// Leaf first.
    let chain: [Certificate]
    let key: PrivateKey
    var settings: ForeignSettings

    var leaf: Certificate { chain[0] }
}

/// How another client renews one certificate; `nil`: it does not say.
struct ForeignSettings: Sendable {
    /// The URL of the directory of the CA.
    var server: String?
    /// The ``ForeignAccount/id`` of the account.
    var account: String?
    /// In seconds.
    var renewBefore: TimeInterval?
    var reusesKey = false
    var challenge: ForeignChallenge?
    var profile: String?
    var isProfileRequired = false
    var preferredChain: String?
}

/// How another client answers challenges.
enum ForeignChallenge: Sendable, Hashable {
    /// The directory in which the tokens lie.
    case directory(String)
    /// A server of its own.
    case http(address: String?, port: Int?)
    case tlsALPN(address: String?, port: Int?)
    /// What the other client calls the way, which we cannot take over.
    case dns(String)
}

struct ForeignAccount: Sendable {
    /// Unique in the survey.
    let id: String
    /// Where its key lies, below the directory.
    let place: String
    let server: String?
    let url: String?
    let contact: [String]
    let key: PrivateKey
}

/// Something that is told and skipped.
struct ForeignProblem: Sendable {
    let place: String
    let message: String
    let hint: String
}

extension ForeignSurvey {
    /// Adds what is in two PEM texts, or tells why it cannot be.
    mutating func add(
        _ label: String, at place: String, certificates: Secret?, key: Secret?, _ settings: ForeignSettings,
        in folder: ForeignFolder
    ) {
        collect(at: folder.path(place)) { (survey) throws(CertsError) in
            guard let certificates, certificates.count > 0 else {
                throw CertsError(
                    .certificateMissing, "there is no certificate", hint: "issue it with the other client, or remove it"
                )
            }
            guard let key else {
                throw CertsError(
                    .keyMalformed, "the private key is missing", hint: "restore it, or have a new certificate issued")
            }
            let chain = try certificates.withBytesThrowing { (bytes) throws(CertsError) in
                try CertificateReader.certificates(in: Data(bytes))
            }
            let privateKey = try PrivateKey(pem: key)
            // Clients have the root already; a bundle needs none.
            let kept = [chain[0]] + chain.dropFirst().filter { !$0.record.selfSigned }
            survey.certificates.append(
                ForeignCertificate(label: label, place: place, chain: kept, key: privateKey, settings: settings))
        }
    }

    /// Adds an account, or tells why it cannot be.
    mutating func addAccount(
        _ id: String, at place: String, server: String?, url: String?, contact: [String], in folder: ForeignFolder,
        key: () throws(CertsError) -> PrivateKey?
    ) {
        collect(at: folder.path(place)) { (survey) throws(CertsError) in
            guard let key = try key() else { return }
            survey.accounts.append(
                ForeignAccount(id: id, place: place, server: server, url: url, contact: contact, key: key))
        }
    }

    /// Runs `body`; an error becomes a problem of `place`.
    mutating func collect(at place: String, _ body: (inout ForeignSurvey) throws(CertsError) -> Void) {
        do {
            try body(&self)
        } catch {
            problems.append(
                ForeignProblem(
                    place: place, message: TerminalText.sanitized(error.message),
                    hint: error.hint ?? "look at it with the other client"))
        }
    }
}

extension Secret {
    /// ``withBytes(_:)`` with a typed error.
    func withBytesThrowing<Value>(
        _ body: (UnsafeRawBufferPointer) throws(CertsError) -> Value
    ) throws(CertsError) -> Value {
        let result: Result<Value, CertsError> = withBytes { bytes in
            do throws(CertsError) { return .success(try body(bytes)) } catch { return .failure(error) }
        }
        return try result.get()
    }
}
