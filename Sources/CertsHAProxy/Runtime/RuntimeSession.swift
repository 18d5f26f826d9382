import CertsCore
import Foundation
import Logging

/// The conversation with one HAProxy about its certificates, typed. The caller holds the lock of the socket.
struct RuntimeSession: Sendable {
    let connection: RuntimeConnection
    let logger: Logger
    /// What is known of a certificate that HAProxy must not be asked about, see ``ShownText``; `nil`: it may be.
    var unaskable: @Sendable (StoreName) async -> CertificateRecord? = { _ in nil }

    func list() async throws(CertsError) -> RuntimeReply.CertificateList {
        try RuntimeReply.certificateList(try await connection.send(.listCertificates))
    }

    func process() async throws(CertsError) -> RuntimeReply.Process {
        try RuntimeReply.process(try await connection.send(.showProcess))
    }

    func stored(_ name: StoreName) async throws(CertsError) -> RuntimeReply.StoredCertificate? {
        if await unaskable(name) != nil { throw ShownText.cannotBeAsked(name.rawValue) }
        return try RuntimeReply.storedCertificate(
            try await connection.send(.show(name, pending: false)), name: name, pending: false)
    }

    /// What the open transaction on `name` holds.
    func pending(_ name: StoreName) async throws(CertsError) -> RuntimeReply.StoredCertificate? {
        try RuntimeReply.storedCertificate(
            try await connection.send(.show(name, pending: true)), name: name, pending: true)
    }

    /// Everything that HAProxy tells about a certificate in its memory, or in the open transaction on it.
    func details(_ name: StoreName, pending: Bool = false) async throws(CertsError)
        -> RuntimeReply.StoredCertificateDetails?
    {
        if !pending, await unaskable(name) != nil { throw ShownText.cannotBeAsked(name.rawValue) }
        return try RuntimeReply.storedDetails(
            try await connection.send(.show(name, pending: pending)), name: name, pending: pending)
    }

    func abort(_ name: StoreName) async throws(CertsError) -> RuntimeReply.AbortOutcome {
        try RuntimeReply.abort(try await connection.send(.abort(name)), name: name)
    }

    /// Fails if the socket has no admin level, changing nothing: only an admin gets as far as hearing that there is no
    /// such transaction. The name can be nobody's.
    func requireAdmin() async throws(CertsError) {
        _ = try await abort(try StoreName("certs-has-no-such-transaction"))
    }

    /// The one name under which HAProxy holds the file at `path`.
    ///
    /// - Throws: `target.notReferenced`, `target.ambiguous`.
    static func resolve(_ path: String, in list: RuntimeReply.CertificateList) throws(CertsError) -> StoreName {
        guard let name = try find(path, in: list) else { throw notReferenced(path, in: list) }
        return name
    }

    /// As ``resolve(_:in:)``; `nil`: HAProxy has nothing from there.
    static func find(_ path: String, in list: RuntimeReply.CertificateList) throws(CertsError) -> StoreName? {
        let wanted = StoreName.normalized(path)
        let matches = list.names.filter { StoreName.normalized($0) == wanted }
        guard matches.count > 1 else {
            return try matches.first.map { (name) throws(CertsError) in try StoreName(name) }
        }
        throw CertsError(
            .targetAmbiguous,
            "HAProxy holds \(path) under \(matches.count) names: \(matches.joined(separator: ", "))", subject: path,
            hint: "write the path in one way in HAProxy's configuration (`crt-base` adds a slash), and reload it")
    }

    static func notReferenced(_ path: String, in list: RuntimeReply.CertificateList) -> CertsError {
        let wanted = StoreName.normalized(path)
        let members = list.names.filter {
            [".rsa", ".ecdsa", ".dsa"].map { wanted + $0 }.contains(StoreName.normalized($0))
        }
        let file = wanted.split(separator: "/").last
        let namesakes = list.names.filter { $0.split(separator: "/").last == file }
        let stem = [".rsa", ".ecdsa"].first { wanted.hasSuffix($0) }.map { String(wanted.dropLast($0.count)) }
        let hint =
            if let stem, list.names.contains(where: { StoreName.normalized($0) == stem }) {
                "HAProxy has \(stem), one file for every client: put a first bundle for each key type beside it (\(stem).ecdsa, \(stem).rsa), move \(stem) away and reload"
            } else if !members.isEmpty {
                "HAProxy holds one file per key type there (\(members.joined(separator: ", "))): declare `keys` for the certificate, or name one of them as the `bundle`"
            } else if !namesakes.isEmpty {
                "HAProxy has \(namesakes.prefix(3).joined(separator: ", ")): write that path as `loadedAs`, or mount it there"
            } else {
                "put a first bundle at \(path), name it after `crt` in HAProxy's configuration and reload; or declare the `list` of a `bind` that it is to be added to, or a `fallback` that reloads"
            }
        return CertsError(.targetNotReferenced, "HAProxy has no certificate from \(path)", subject: path, hint: hint)
    }

    // MARK: The swap

    /// Puts `bundle` into HAProxy's memory under `name`: set, read back, commit, read back. Whatever goes wrong, a
    /// transaction of ours does not stay behind.
    ///
    /// - Parameters:
    ///   - leaf: the leaf of the bundle; what HAProxy says it has is compared with it.
    ///   - companions: in the same transaction.
    ///   - needsStaple: whether an OCSP response that HAProxy does not take stops the swap; otherwise it goes on without.
    func swap(
        _ name: StoreName, to bundle: Secret, leaf: CertificateRecord, companions: [Companion] = [],
        needsStaple: Bool = true
    ) async throws(CertsError) {
        let command = try RuntimeCommand.set(name, bundle)
        let beside = try Self.commands(for: companions, of: name)
        // Six commands in a row, each waiting for its answer: on one thread.
        try await LoopExecutor.run { () async throws(CertsError) in
            let before = try await process()
            guard !before.isStopping else { throw Self.isLeaving(before, connection.socket) }
            try await open(name, command, leaf)
            let instances: Int
            do throws(CertsError) {
                try await addToTransaction(beside, name, leaf, needsStaple: needsStaple)
                instances = try RuntimeReply.commit(try await connection.send(.commit(name)), name: name)
            } catch {
                instances = try await settle(name, leaf, after: error)
            }
            try await confirm(name, leaf, by: before)
            logger.info(
                "HAProxy took the certificate",
                metadata: ["file": "\(name)", "instances": "\(instances)", "pid": "\(before.pid)"])
        }
    }

    /// The open transaction holds the leaf; then the companions are put beside it.
    private func addToTransaction(
        _ beside: [RuntimeCommand], _ name: StoreName, _ leaf: CertificateRecord, needsStaple: Bool
    ) async throws(CertsError) {
        guard let staged = try await pending(name), Self.matches(staged, leaf) else {
            throw CertsError(
                .targetUnexpectedReply, "HAProxy did not keep the certificate that it was sent for \(name)",
                subject: name.rawValue,
                hint: "another client uses the socket at the same time: let only certs update this file",
                retry: .later)
        }
        do throws(CertsError) {
            for command in beside { try await addToTransaction(command, name) }
            if beside.contains(where: \.isStaple) { try await checkStaple(of: name) }
        } catch  where error.code == .targetRefused && !needsStaple {
            logger.warning("HAProxy goes on without the OCSP response: \(error)", metadata: ["file": "\(name)"])
        }
    }

    /// HAProxy holds the leaf and uses it, and is still the process that was asked.
    private func confirm(_ name: StoreName, _ leaf: CertificateRecord, by before: RuntimeReply.Process)
        async throws(CertsError)
    {
        guard let live = try await stored(name), Self.matches(live, leaf), live.status == "Used" else {
            throw CertsError(
                .targetUnexpectedReply, "HAProxy said that it took the certificate for \(name), but holds another one",
                subject: name.rawValue, retry: .later)
        }
        let after = try await process()
        guard after.pid == before.pid, !after.isStopping else { throw Self.isLeaving(after, connection.socket) }
    }

    /// The commands that put companions into the open transaction, the staple last: a bundle wipes it, and HAProxy needs
    /// the issuer to understand it.
    static func commands(for companions: [Companion], of name: StoreName) throws(CertsError) -> [RuntimeCommand] {
        var commands: [RuntimeCommand] = []
        for kind in Companion.Kind.allCases {
            guard let contents = companions.first(where: { $0.kind == kind })?.contents else { continue }
            switch kind {
            case .issuer: commands.append(try .set(name, .issuer, Secret(copying: contents)))
            // HAProxy takes that only from a file: see `RuntimeCommand.Companion`.
            case .sctl: break
            case .ocsp: commands.append(try .set(name, .ocsp, RuntimeCommand.base64(contents)))
            }
        }
        return commands
    }

    private func addToTransaction(_ command: RuntimeCommand, _ name: StoreName) async throws(CertsError) {
        let outcome = try RuntimeReply.set(try await connection.send(command), name: name)
        guard outcome == .updated(name.rawValue) else {
            throw CertsError(
                .targetUnexpectedReply, "HAProxy did not take '\(command.line)' into the transaction on \(name)",
                subject: name.rawValue, hint: "let only certs update certificates at this socket, then run again",
                retry: .later)
        }
    }

    /// HAProxy takes a response that it will not staple (about another certificate, or by another digest) and drops it
    /// without a word.
    private func checkStaple(of name: StoreName) async throws(CertsError) {
        guard try await details(name, pending: true)?.hasOwnResponse == true else {
            throw CertsError(
                .targetRefused, "HAProxy does not take the OCSP response for \(name)", subject: name.rawValue,
                hint: "it must be about this certificate, by SHA-1 identifier; without it: `staple: false`")
        }
    }

    private func open(_ name: StoreName, _ command: RuntimeCommand, _ leaf: CertificateRecord) async throws(CertsError)
    {
        let outcome: RuntimeReply.SetOutcome
        do throws(CertsError) {
            outcome = try RuntimeReply.set(try await connection.send(command), name: name)
        } catch  where error.code == .targetRefused || error.code == .targetNotReferenced {
            throw error
        } catch {
            // No reply, or none that can be read: the transaction may be open.
            throw await withdraw(name, leaf, after: error)
        }
        guard case .updated(let other) = outcome else { return }
        // Somebody opened a transaction after we had looked. HAProxy 2.6 puts our payload into it, whatever it is
        // about: left alone, the other client's commit would serve our certificate for their names.
        let overwritten = other == name.rawValue ? name : try StoreName(other)
        let error = CertsError(
            .targetForeignTransaction,
            "another client opened a transaction for \(other) at the same moment; it was aborted, because HAProxy mixed ours into it",
            subject: other, hint: "let only certs update certificates at this socket, then run again", retry: .later)
        throw await withdraw(overwritten, leaf, after: error)
    }

    /// After a commit that failed, or whose answer is not known: looks whether it took effect, and cleans up if not.
    private func settle(_ name: StoreName, _ leaf: CertificateRecord, after error: CertsError) async throws(CertsError)
        -> Int
    {
        // A refusal is an answer; everything else leaves open what happened.
        if error.code != .targetRefused, let live = try? await stored(name), Self.matches(live, leaf),
            (try? await list())?.openTransaction == nil
        {
            return 0
        }
        throw await withdraw(name, leaf, after: error)
    }

    /// Aborts the transaction on `name` if it holds what we sent; returns `error`, with a note if that failed.
    private func withdraw(_ name: StoreName, _ leaf: CertificateRecord, after error: CertsError) async -> CertsError {
        do {
            guard try await list().openTransaction == name.rawValue else { return error }
            if let held = try await pending(name), !held.sha1.isEmpty, !Self.matches(held, leaf) { return error }
            _ = try await abort(name)
            guard try await list().openTransaction != name.rawValue else {
                return error.noting(
                    "the transaction on \(name) is still open: `abort ssl cert \(name)` at the socket ends it")
            }
            return error
        } catch let failure {
            return error.noting("the transaction on \(name) could not be aborted: \(failure.message)")
        }
    }

    static func matches(_ stored: RuntimeReply.StoredCertificate, _ leaf: CertificateRecord) -> Bool {
        stored.sha1 == leaf.sha1 && stored.serial == RuntimeReply.serial(leaf.serial)
    }

    private static func isLeaving(_ process: RuntimeReply.Process, _ socket: String) -> CertsError {
        CertsError(
            .targetUnreachable, "HAProxy (pid \(process.pid)) at \(socket) is being reloaded or stopped",
            subject: socket,
            hint: "run again when the reload is done", retry: .later)
    }
}

extension CertsError {
    /// The same error with one more thing to know.
    func noting(_ note: String) -> CertsError {
        var result = CertsError(
            code, "\(message); \(note)", subject: subject, stage: stage, hint: hint, details: details, retry: retry)
        if let cause {
            result = CertsError(
                code, "\(message) (\(cause)); \(note)", subject: subject, stage: stage, hint: hint, details: details,
                retry: retry)
        }
        return result
    }
}
