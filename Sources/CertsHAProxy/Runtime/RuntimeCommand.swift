import CertsCore
import Foundation

/// One command of HAProxy's runtime API (management manual §9.3), as it is sent.
struct RuntimeCommand: Sendable {
    /// Without the newline.
    let line: String
    /// PEM, base64 or a line of a crt-list after `<<`; ended by an empty line.
    let payload: Secret?

    private init(_ line: String, payload: Secret? = nil) {
        self.line = line
        self.payload = payload
    }

    /// HAProxy 2.6 takes 16,383 bytes; at 16,384 it can take itself down, above it hangs up. The distance is on purpose.
    static let sizeLimit = 16_000

    static let listCertificates = RuntimeCommand("show ssl cert")
    static let showProcess = RuntimeCommand("show info")
    /// With the time of its start.
    static let showProcessExactly = RuntimeCommand("show info float")

    // At the master CLI.
    static let listProcesses = RuntimeCommand("show proc")
    static let showLevel = RuntimeCommand("show cli level")
    static let reload = RuntimeCommand("reload")
    static func showProcess(ofWorker pid: Int) -> RuntimeCommand { RuntimeCommand("@!\(pid) show info") }

    static func show(_ name: StoreName, pending: Bool) -> RuntimeCommand {
        RuntimeCommand("show ssl cert \(pending ? "*" : "")\(name)")
    }

    static func commit(_ name: StoreName) -> RuntimeCommand { RuntimeCommand("commit ssl cert \(name)") }
    static func abort(_ name: StoreName) -> RuntimeCommand { RuntimeCommand("abort ssl cert \(name)") }

    /// - Throws: `target.bundleTooLarge`; the caller may then choose a reload.
    static func set(_ name: StoreName, _ bundle: Secret) throws(CertsError) -> RuntimeCommand {
        guard CanonicalBundle.isPayload(bundle) else {
            throw CertsError(.internal, "this bundle is not canonical and must not be sent to HAProxy")
        }
        let command = RuntimeCommand("set ssl cert \(name) <<", payload: bundle)
        guard command.size <= sizeLimit else {
            throw CertsError(
                .targetBundleTooLarge,
                "the bundle makes a command of \(command.size) bytes; HAProxy's runtime API takes \(sizeLimit)",
                subject: name.rawValue,
                hint: "use a shorter chain, or name a `fallback` that reloads")
        }
        return command
    }

    // MARK: Companions

    /// What is set for a certificate beside its PEM, in the same transaction and after it: the PEM clears the staple.
    ///
    /// There is no `.sctl`: HAProxy reads that payload as raw bytes up to the first NUL, and a list of SCTs begins with
    /// one (RFC 6962 §3.3). It can only come from a file.
    enum Companion: String, Sendable, CaseIterable {
        case key, issuer, ocsp
    }

    /// - Parameter payload: PEM for the key and the issuer, one line of base64 for the OCSP response.
    /// - Throws: `target.refused` for what cannot be a payload, `target.bundleTooLarge`.
    static func set(_ name: StoreName, _ companion: Companion, _ payload: Secret) throws(CertsError) -> RuntimeCommand {
        try checked("set ssl cert \(name).\(companion) <<", payload, subject: name.rawValue)
    }

    /// Replaces the staple of every certificate that the response is about, without a transaction.
    ///
    /// - Parameter response: DER (RFC 6960 §4.2.1).
    static func updateOCSPResponse(_ response: Data) throws(CertsError) -> RuntimeCommand {
        try checked("set ssl ocsp-response <<", base64(response), subject: nil)
    }

    /// One line of base64, as the payload of an OCSP response.
    static func base64(_ bytes: Data) -> Secret { Secret(copying: (bytes.base64EncodedString() + "\n").utf8) }

    // MARK: Growing and shrinking

    static let lists = RuntimeCommand("show ssl crt-list")

    static func new(_ name: StoreName) -> RuntimeCommand { RuntimeCommand("new ssl cert \(name)") }
    static func delete(_ name: StoreName) -> RuntimeCommand { RuntimeCommand("del ssl cert \(name)") }
    static func entries(of list: StoreName) -> RuntimeCommand { RuntimeCommand("show ssl crt-list -n \(list)") }

    /// - Throws: `target.bundleTooLarge`; `target.notReferenced` for a relative name where there are options or filters,
    ///   because HAProxy puts its `crt-base` in front of a name in a payload, and nothing in front of any other.
    static func add(_ name: StoreName, _ terms: CrtListTerms, to list: StoreName) throws(CertsError) -> RuntimeCommand {
        if terms.isEmpty { return RuntimeCommand("add ssl crt-list \(list) \(name)") }
        guard name.rawValue.hasPrefix("/") else {
            throw CertsError(
                .targetNotReferenced, "\(name) is not an absolute path: HAProxy would look for it below `crt-base`",
                subject: name.rawValue, hint: "write the whole path of the bundle")
        }
        let line = Secret(copying: (terms.line(for: name.rawValue) + "\n").utf8)
        return try checked("add ssl crt-list \(list) <<", line, subject: name.rawValue)
    }

    /// - Parameter line: the number that `show ssl crt-list -n` gives; 0 for an entry of a directory, which has one only.
    static func remove(_ name: StoreName, line: Int, from list: StoreName) -> RuntimeCommand {
        RuntimeCommand("del ssl crt-list \(list) \(name)\(line > 0 ? ":\(line)" : "")")
    }

    private static func checked(_ line: String, _ payload: Secret, subject: String?) throws(CertsError)
        -> RuntimeCommand
    {
        guard CanonicalBundle.isPayload(payload) else {
            throw CertsError(
                .targetRefused, "a payload that is empty or has a blank line cannot be sent to HAProxy",
                subject: subject,
                hint: "give it without blank lines; HAProxy would run what follows one as a command")
        }
        let command = RuntimeCommand(line, payload: payload)
        guard command.size <= sizeLimit else {
            throw CertsError(
                .targetBundleTooLarge,
                "the command has \(command.size) bytes; HAProxy's runtime API takes \(sizeLimit)",
                subject: subject, hint: "put the file beside the bundle and reload HAProxy")
        }
        return command
    }

    /// In bytes: line, payload, and the newlines that end them.
    var size: Int { line.utf8.count + 1 + (payload.map { $0.count + 1 } ?? 0) }
}
