import CertsCore
import CertsCrypto
import Foundation
import Logging

/// What a certificate gets in HAProxy's memory beside its PEM.
struct BundleCompanions: Sendable {
    /// Needed to understand the OCSP response where the bundle has no chain.
    var issuer: Certificate?
    /// In DER (RFC 6960 §4.2.1); checked by the caller.
    var ocspResponse: Data?

    static let none = BundleCompanions()
    var isEmpty: Bool { issuer == nil && ocspResponse == nil }
}

extension CrtListSession {
    /// Makes a certificate in HAProxy's memory that no list uses yet: new, set, read back, commit, read back.
    ///
    /// Does nothing if it is there already. What an earlier run left half done is taken up. On failure nothing of it
    /// stays: no transaction, no empty store.
    ///
    /// - Throws: `target.refused` where HAProxy serves another certificate under this name: that would be a swap.
    func createStore(
        _ name: StoreName, bundle: Secret, leaf: CertificateRecord, companions: BundleCompanions = .none
    ) async throws(CertsError) {
        try Self.checkNew(name)
        let commands = try Self.commands(name, bundle, companions)
        let process = try await session.process()
        guard !process.isStopping else {
            throw CertsError(
                .targetUnreachable, "HAProxy (pid \(process.pid)) is being reloaded or stopped", subject: name.rawValue,
                hint: "run again when the reload is done", retry: .later)
        }
        try await clearOwnTransaction(name, leaf)
        let before = try await session.stored(name)
        if let before, before.status != "Empty" {
            let isSame = RuntimeSession.matches(before, leaf)
            if isSame, before.status == "Used" || companions.isEmpty { return }
            guard before.status != "Used" else { throw Self.isServed(name) }
        }
        do throws(CertsError) {
            if before == nil { try await makeEmpty(name) }
            try await fill(name, commands, leaf)
            try await commit(name, leaf, expectsResponse: companions.ocspResponse != nil)
        } catch {
            throw await undo(name, leaf, isOurs: before == nil || before?.status == "Empty", after: error)
        }
        session.logger.info("HAProxy has a new certificate in memory", metadata: ["file": "\(name)"])
    }

    /// Deletes the certificate from HAProxy's memory, with a transaction that is open on it; none is fine.
    ///
    /// Only for a name that ``createStore(_:bundle:leaf:companions:)`` was given, after its entries are gone.
    /// - Throws: `target.refused` while a list uses it.
    func removeStore(_ name: StoreName) async throws(CertsError) {
        if try await session.list().openTransaction == name.rawValue { _ = try await session.abort(name) }
        guard try await session.stored(name) != nil else { return }
        _ = try RuntimeReply.delete(try await session.connection.send(.delete(name)), name: name)
        guard try await session.stored(name) == nil else {
            throw CertsError(
                .targetUnexpectedReply, "HAProxy said that it deleted \(name), but still has it",
                subject: name.rawValue,
                retry: .later)
        }
    }

    // MARK: The steps

    /// Everything that is going to be sent: what is too large is found before anything is begun. The PEM comes first,
    /// because it clears what belongs to the one before it; the response comes last, because it needs the issuer.
    private static func commands(_ name: StoreName, _ bundle: Secret, _ companions: BundleCompanions)
        throws(CertsError) -> [RuntimeCommand]
    {
        var commands = [try RuntimeCommand.set(name, bundle)]
        if let issuer = companions.issuer {
            commands.append(try RuntimeCommand.set(name, .issuer, Secret(copying: issuer.pem.utf8)))
        }
        if let response = companions.ocspResponse {
            commands.append(try RuntimeCommand.set(name, .ocsp, RuntimeCommand.base64(response)))
        }
        return commands
    }

    private func makeEmpty(_ name: StoreName) async throws(CertsError) {
        guard try RuntimeReply.new(try await session.connection.send(.new(name)), name: name) else {
            throw CertsError(
                .targetAmbiguous, "another client made a certificate called \(name) in HAProxy at the same moment",
                subject: name.rawValue, hint: "let only certs add certificates at this socket, then run again",
                retry: .later)
        }
    }

    /// Opens the transaction with the PEM and puts the companions into it.
    private func fill(_ name: StoreName, _ commands: [RuntimeCommand], _ leaf: CertificateRecord)
        async throws(CertsError)
    {
        for (index, command) in commands.enumerated() {
            let outcome = try RuntimeReply.set(try await session.connection.send(command), name: name)
            let expected = index == 0 ? RuntimeReply.SetOutcome.created : .updated(name.rawValue)
            guard outcome != expected else { continue }
            // HAProxy 2.6 puts our payload into whatever transaction is open: left alone, the other client's commit
            // would serve our certificate for their names.
            if case .updated(let other) = outcome { _ = try await session.abort(try StoreName(other)) }
            throw CertsError(
                .targetForeignTransaction,
                "another client changes certificates in HAProxy at the same moment; the open transaction was aborted",
                subject: name.rawValue, hint: "let only certs update certificates at this socket, then run again",
                retry: .later)
        }
    }

    private func commit(_ name: StoreName, _ leaf: CertificateRecord, expectsResponse: Bool) async throws(CertsError) {
        guard let staged = try await session.details(name, pending: true), RuntimeSession.matches(staged.stored, leaf)
        else {
            throw CertsError(
                .targetUnexpectedReply, "HAProxy did not keep the certificate that it was sent for \(name)",
                subject: name.rawValue,
                hint: "another client uses the socket at the same time: let only certs update this file", retry: .later)
        }
        // HAProxy commits a response about another certificate without a word, and then staples nothing.
        guard !expectsResponse || staged.hasOwnResponse else {
            throw CertsError(
                .targetRefused, "the OCSP response for \(name) is about another certificate", subject: name.rawValue,
                hint: "fetch the response for this certificate from its issuer's responder")
        }
        do throws(CertsError) {
            _ = try RuntimeReply.commit(try await session.connection.send(.commit(name)), name: name)
        } catch  where error.code != .targetRefused {
            // No answer, or none that can be read: what is in memory decides.
            guard (try? await session.list())?.openTransaction == nil else { throw error }
        }
        guard let live = try await session.details(name), RuntimeSession.matches(live.stored, leaf),
            !expectsResponse || live.hasOwnResponse
        else {
            throw CertsError(
                .targetUnexpectedReply, "HAProxy said that it took the certificate for \(name), but holds another one",
                subject: name.rawValue, hint: "let only certs update certificates at this socket, then run again",
                retry: .later)
        }
    }

    // MARK: Cleaning up

    /// Aborts the transaction that an earlier run left open on `name`; any other one is somebody else's.
    private func clearOwnTransaction(_ name: StoreName, _ leaf: CertificateRecord) async throws(CertsError) {
        guard let open = try await session.list().openTransaction else { return }
        if open == name.rawValue, let held = try await session.pending(name), Self.isOurs(held, leaf) {
            session.logger.notice(
                "aborting the transaction that an earlier run left open", metadata: ["file": "\(open)"])
            _ = try await session.abort(name)
            guard try await session.list().openTransaction != nil else { return }
        }
        throw CertsError(
            .targetForeignTransaction, "another client has a transaction open in HAProxy, for \(open)", subject: open,
            hint: "end it: `commit ssl cert \(open)` or `abort ssl cert \(open)` at the socket; then run again",
            retry: .later)
    }

    /// A transaction without a certificate has companions only: ours, where the PEM did not arrive.
    private static func isOurs(_ held: RuntimeReply.StoredCertificate, _ leaf: CertificateRecord) -> Bool {
        held.sha1.isEmpty || RuntimeSession.matches(held, leaf)
    }

    /// Leaves HAProxy as it was; returns `error`, with a note on what could not be undone.
    ///
    /// - Parameter isOurs: whether the store is one that we made.
    private func undo(_ name: StoreName, _ leaf: CertificateRecord, isOurs: Bool, after error: CertsError) async
        -> CertsError
    {
        do throws(CertsError) {
            if try await session.list().openTransaction == name.rawValue {
                guard let held = try await session.pending(name), Self.isOurs(held, leaf) else { return error }
                _ = try await session.abort(name)
            }
            guard isOurs, error.code != .targetAmbiguous, let left = try await session.stored(name),
                left.status != "Used"
            else { return error }
            _ = try RuntimeReply.delete(try await session.connection.send(.delete(name)), name: name)
            return error
        } catch let failure {
            return error.noting(
                "\(name) may be left over in HAProxy's memory, unused, until its next reload: \(failure.message)")
        }
    }

    private static func isServed(_ name: StoreName) -> CertsError {
        CertsError(
            .targetRefused, "HAProxy serves another certificate from \(name) already: it is not new",
            subject: name.rawValue, hint: "run again: a certificate that is served is replaced, not added")
    }
}
