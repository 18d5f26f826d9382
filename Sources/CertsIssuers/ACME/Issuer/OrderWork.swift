import CertsCore
import CertsCrypto
import Foundation
import Logging

/// One certificate from an order, from the first step or from where an earlier process was (RFC 8555 §7.4).
///
///     newOrder → pending → ready → (finalize) → processing → valid → chain
///
/// Each turn of the loop looks at the state of the order and does what it calls for; a step that must not be repeated is
/// recorded before it is taken. So it does not matter who took the steps before, or whether their answers arrived.
struct OrderWork: Sendable {
    let session: ACMESession
    let account: ActiveAccount
    let declaration: ACMEDeclaration
    let request: IssuanceRequest
    let identifiers: [Identifier]
    let csr: CertificateRequest
    let records: OrderRecords
    let authorizations: AuthorizationWork
    let logger: Logger
    /// Told of each name whose validation failed.
    let validationFailed: @Sendable (AlternativeName) async -> Void
    /// Whether another process has put something else in the place of `account`.
    let accountHasChanged: @Sendable () async throws -> Bool

    /// For the CA to sign, while we wait here.
    private static let signingDeadline = Duration.seconds(90)
    /// How often the request is handed in while the order stays ready.
    private static let submissionLimit = 5
    /// For the order to become ready after its last authorization.
    private static let readyDeadline = Duration.seconds(30)

    private var signer: ACMESession.Signer { account.signer }

    /// - Parameter permit: asked before a new order is made; gives the time to wait until and the reason, if there is one.
    func run(permit: () async throws -> (until: Date, because: String)?) async throws -> IssuanceOutcome {
        var (record, order) = (try await records.load(), Order?.none)
        if let known = record { order = try await resumable(known) }
        try await cleanUp(sparing: order?.status == .pending ? record?.order : nil)
        if order == nil {
            if let wait = try await permit() {
                return .pending(ResumeHandle("limits", waitingFor: wait.because), retryAt: wait.until)
            }
            let (made, new) = try await begin()
            (record, order) = (made, new)
        }
        guard var record, let order else { throw CertsError(.internal, "an order without a record") }
        try await take(&record)
        return try await drive(&record, order)
    }

    /// Takes away what earlier attempts at this issuer have left. What was shown at another one waits for that one's
    /// solvers.
    ///
    /// - Parameter order: one whose answers the CA may be looking at.
    private func cleanUp(sparing order: String?) async throws {
        let shown = try await records.shownProofs()
        let left = shown.filter { $0.issuer == session.issuer && $0.order != order }
        guard !left.isEmpty else { return }
        let kept = Set(await authorizations.clean(left.map(\.proof)))
        try await records.save(shown.filter { !left.contains($0) || kept.contains($0.proof) }, for: .clearing)
    }

    // MARK: Beginning

    /// The order of an earlier attempt, if it can still give a certificate for our key.
    private func resumable(_ record: OrderRecord) async throws -> Order? {
        let profile = try profile(try await session.directory())
        guard
            record.isFor(
                identifiers, profile: profile, issuer: session.issuer, directory: declaration.directory,
                account: account.url)
        else { return nil }
        let isOurs = isOurs(record)
        // Signed, or about to be, for a key of another rotation: of no use here.
        guard isOurs || record.finalizedAt == nil else { return nil }
        let order: Order
        do {
            order = try await session.order(record.order, as: signer).order
        } catch let failure as ACMEFailure where (400..<500).contains(failure.status) && !failure.isLimit {
            // Not the order is gone, but the key that asked: another process has changed it.
            if failure.mayBeAboutAccount, try await accountHasChanged() { throw failure }
            return nil
        }
        guard complaint(of: order, profile: profile) == nil else { return nil }
        if let expires = order.expires.flatMap(ProtocolDate.parse), expires <= request.now, order.status != .valid {
            return nil
        }
        switch order.status {
        case .pending, .ready: return order
        case .processing, .valid: return isOurs ? order : nil
        case .invalid: return nil
        }
    }

    private func begin() async throws -> (OrderRecord, Order) {
        let directory = try await session.directory()
        var wish = Order.Request(identifiers: identifiers)
        wish.notAfter = declaration.validity.map { ProtocolDate.text(request.now.addingTimeInterval($0)) }
        wish.profile = try profile(directory)
        if directory.renewalInfo != nil, let leaf = request.replacing {
            wish.replaces = RenewalInformation.certificateID(try Certificate(der: leaf))
        }
        let (url, order) = try await place(wish)
        let record = OrderRecord(
            issuer: session.issuer, directory: declaration.directory, account: account.url, order: url,
            identifiers: identifiers, profile: wish.profile, rotation: request.rotation, spkiSHA256: csr.spkiSHA256)
        try await records.save(record, for: .order)
        if let complaint = complaint(of: order, profile: wish.profile) {
            try await records.remove()
            throw complaint
        }
        return (record, order)
    }

    /// What is wrong with an order that the CA says is ours.
    private func complaint(of order: Order, profile: String?) -> CertsError? {
        guard Set(order.identifiers.compactMap(\.name)) == Set(identifiers.compactMap(\.name)) else {
            return CertsError(
                .issuerRefused, "the CA's order is for other names than were asked for",
                subject: session.issuer.rawValue,
                hint: "tell the CA; nothing was signed", retry: .later)
        }
        guard let wanted = profile, let got = order.profile, got != wanted else { return nil }
        return CertsError(
            .issuerRefused,
            "the CA took the profile '\(TerminalText.sanitized(got, limit: 60))' instead of '\(wanted)'",
            subject: session.issuer.rawValue, hint: "correct `profile:`; `certs acme directory` lists them")
    }

    private func place(_ wish: Order.Request) async throws -> (url: String, order: Order) {
        do {
            return try await session.newOrder(wish, as: signer)
        } catch let failure as ACMEFailure where wish.replaces != nil && Self.isAboutReplacement(failure) {
            // An order of an attempt that died took the place already (RFC 9773 §5): once more without.
            logger.notice(
                "the CA has a replacement of the old certificate already; ordering without 'replaces'",
                metadata: ["certificate": "\(request.declaration.name)"])
            var plain = wish
            plain.replaces = nil
            return try await session.newOrder(plain, as: signer)
        }
    }

    private static func isAboutReplacement(_ failure: ACMEFailure) -> Bool {
        switch failure.kind {
        case .alreadyReplaced: true
        case .malformed, .unauthorized: true
        default: failure.status == 409
        }
    }

    /// Only advertised names are sent (draft-ietf-acme-profiles).
    private func profile(_ directory: Directory) throws -> String? {
        guard let wanted = declaration.profile else { return nil }
        if directory.meta?.profiles[wanted.name] != nil { return wanted.name }
        let known = (directory.meta?.profiles.keys.sorted() ?? []).joined(separator: ", ")
        guard wanted.isRequired else {
            logger.notice(
                "the CA does not offer the profile '\(wanted.name)'; ordering without one",
                metadata: ["issuer": "\(session.issuer)"])
            return nil
        }
        throw CertsError(
            .issuerRefused, "the CA does not offer the profile '\(wanted.name)'", subject: session.issuer.rawValue,
            hint: known.isEmpty ? "it has no profiles" : "it offers: \(TerminalText.sanitized(known, limit: 300))")
    }

    /// The request is of our key, and on disk before it is sent.
    private func take(_ record: inout OrderRecord) async throws {
        guard !isOurs(record) || record.csr == nil else { return }
        record.rotation = request.rotation
        record.spkiSHA256 = csr.spkiSHA256
        record.csr = csr.der
        try await records.save(record, for: .request)
    }

    private func isOurs(_ record: OrderRecord) -> Bool {
        record.rotation == request.rotation && record.spkiSHA256 == csr.spkiSHA256
    }

    // MARK: Driving

    private func drive(_ record: inout OrderRecord, _ first: Order) async throws -> IssuanceOutcome {
        var order = first
        var retryAt: Date?
        var ready = Polling(deadline: Self.readyDeadline)
        var signing = Polling(deadline: Self.signingDeadline)
        var isAuthorized = false
        var submissions = 0
        while true {
            switch order.status {
            case .pending where !isAuthorized:
                try await authorize(order, at: record.order)
                isAuthorized = true
            case .pending:
                guard try await ready.wait(atLeastUntil: retryAt) else { throw stuck("pending") }
            case .ready:
                submissions += 1
                let isLast = submissions == Self.submissionLimit
                if let (next, wish) = try await finalize(order, &record, isLast: isLast) {
                    (order, retryAt) = (next, wish)
                    if order.status != .ready { continue }
                }
                guard try await signing.wait(atLeastUntil: retryAt) else { throw stuck("ready") }
            case .processing:
                guard try await signing.wait(atLeastUntil: retryAt) else {
                    let soon = request.now.addingTimeInterval(60)
                    return .pending(
                        ResumeHandle(record.order, waitingFor: "the CA's signature"),
                        retryAt: max(retryAt ?? soon, soon))
                }
            case .valid:
                return .issued(chain: try await download(order, &record))
            case .invalid:
                try await records.remove()
                throw invalid(order)
            }
            (order, retryAt) = try await session.order(record.order, as: signer)
        }
    }

    private func authorize(_ order: Order, at url: String) async throws {
        // What is left of other attempts stays in the record beside what is shown now.
        let others = try await records.shownProofs().filter { $0.issuer != session.issuer || $0.order != url }
        var step = OrderRecords.Step.proofs
        do {
            try await authorizations.authorize(
                order,
                save: { proofs in
                    let shown = proofs.map { ShownProof(issuer: session.issuer, order: url, proof: $0) }
                    try await records.save(others + shown, for: step)
                    step = .clearing
                }, failed: validationFailed)
            // Of an attempt that did not hear what the CA decided.
            try await cleanUp(sparing: nil)
        } catch let failure as ValidationFailure {
            // The order is lost with its authorization.
            try? await records.remove()
            throw failure.error
        }
    }

    /// - Returns: `nil` when it is not known what came of it: then the order is to be read again.
    private func finalize(
        _ order: Order, _ record: inout OrderRecord, isLast: Bool
    ) async throws -> (Order, Date?)? {
        record.finalizedAt = request.now
        try await records.save(record, for: .finalization)
        do {
            return try await session.finalize(order, csr: record.csr ?? csr.der, as: signer)
        } catch let failure as ACMEFailure
            where !isLast && (failure.kind == .orderNotReady || failure.status >= 500)
        {
            return nil
        } catch let error as CertsError where !isLast && error.code == .http && error.retry != .never {
            // The answer was lost, not necessarily the request.
            return nil
        }
    }

    private func download(_ order: Order, _ record: inout OrderRecord) async throws -> [Data] {
        guard let url = order.certificate else {
            throw CertsError(
                .issuerUnavailable, "the order is valid, but the CA does not say where the certificate is",
                subject: session.issuer.rawValue, hint: "try again", retry: .later)
        }
        record.certificate = url
        try await records.save(record, for: .certificate)
        let (chain, isPreferred) = try await session.certificateChain(
            url, preferring: declaration.preferredChain, as: signer)
        if !isPreferred {
            logger.warning(
                "the CA does not offer the preferred chain; taking its default one",
                metadata: ["issuer": "\(session.issuer)", "certificate": "\(request.declaration.name)"])
        }
        guard let leaf = chain.first(where: { $0.publicKeyDER == csr.publicKeyDER }) else {
            // Whatever this order gives, it is not for our key: the next attempt makes another one.
            try await records.remove()
            throw CertsError(
                .keyMismatch, "the certificate that the CA sent is for another key", subject: session.issuer.rawValue,
                hint: "nothing was deployed; rotate again, and tell the CA if it stays so", retry: .later)
        }
        return ChainOrder.ordered(leaf, among: chain).map(\.der)
    }

    private func stuck(_ status: String) -> CertsError {
        CertsError(
            .issuerUnavailable, "the order stays \(status), although its authorizations are valid",
            subject: session.issuer.rawValue, hint: "try again later; the order stays", retry: .later)
    }

    private func invalid(_ order: Order) -> CertsError {
        guard let problem = order.error else {
            return CertsError(
                .issuerRefused, "the order has become invalid, and the CA gives no reason",
                subject: session.issuer.rawValue, hint: "rotate again: a new order is made", retry: .later)
        }
        return ACMEFailure(
            problem: problem, status: 200, retryAt: nil, url: HTTPReply.shown(records.file), termsURL: nil
        )
        .certsError(session.issuer)
    }
}
