import CertsCore

/// One command of HAProxy's runtime API (management manual §9.3), as it is sent.
struct RuntimeCommand: Sendable {
    /// Without the newline.
    let line: String
    /// PEM after `<<`; ended by an empty line.
    let payload: Secret?

    private init(_ line: String, payload: Secret? = nil) {
        self.line = line
        self.payload = payload
    }

    /// HAProxy 2.6 takes 16,383 bytes; at 16,384 it can take itself down, above it hangs up. The distance is on purpose.
    static let sizeLimit = 16_000

    static let listCertificates = RuntimeCommand("show ssl cert")
    static let showProcess = RuntimeCommand("show info")

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
                hint: "use a shorter chain, or `reload: { method: signal }` for this target")
        }
        return command
    }

    /// In bytes: line, payload, and the newlines that end them.
    var size: Int { line.utf8.count + 1 + (payload.map { $0.count + 1 } ?? 0) }
}
