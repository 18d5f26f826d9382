package import CertsCore
package import Foundation

/// Keeps the requests of all processes within the limits of one issuer, across restarts: `accounts/ISSUER/limits.json`.
///
/// A step of the clock back makes nobody wait longer than an empty bucket would; a step forward is not noticed here, and
/// lasts until the clock is right (the timer refuses to run while the clock is in doubt).
package struct IssuanceLimiter: Sendable {
    package let limits: IssuanceLimits
    private let issuer: Name
    private let files: any IssuerFiles

    private static let file = "limits.json"
    private static let lockDeadline: Duration = .seconds(60)
    /// Of the file; `IssuerFiles` reads 1 MiB.
    private static let sizeLimit = 1_000_000

    package init(issuer: Name, limits: IssuanceLimits, files: any IssuerFiles) {
        self.issuer = issuer
        self.limits = limits
        self.files = files
    }

    package enum Reservation: Sendable, Hashable {
        case granted
        case wait(until: Date, because: String)
    }

    /// What is left of a limit, as far as we know: other users of the account, and other accounts with the same names,
    /// are not seen from here.
    package struct Remaining: Sendable, Hashable {
        package let limit: String
        /// The domain or names that the limit is for; `nil`: the account.
        package let subject: String?
        package let left: Int
        package let of: Int
    }

    // MARK: Before a request

    /// Takes an order from the limits, if they allow one now. What was granted is recorded durably before it returns.
    ///
    /// Takes the lock of `accounts/ISSUER`: not to be called by whoever holds it.
    package func reserveOrder(names: [AlternativeName], kind: OrderKind, now: Date) async throws -> Reservation {
        let demand = IssuanceDemand(names: names, kind: kind)
        // Nothing would be taken: then there is nothing to record, and no lock to wait for.
        if kind == .renewalByHint || limits == .none {
            return Self.reservation(try await ledger(now).wait(for: demand, limits, now: now))
        }
        return try await change(now) { ledger in
            let wait = ledger.wait(for: demand, limits, now: now)
            if wait == nil { ledger.take(for: demand, limits, now: now) }
            return Self.reservation(wait)
        }
    }

    package func reserveOrder(
        names: [AlternativeName], isRenewalByARI: Bool, now: Date
    ) async throws -> Reservation {
        try await reserveOrder(names: names, kind: isRenewalByARI ? .renewalByHint : .new, now: now)
    }

    /// Takes a new account.
    /// - Parameter holding: the lock of `accounts/ISSUER`, where the caller has it already.
    package func reserveAccount(now: Date, holding lock: (any HeldLock)? = nil) async throws -> Reservation {
        guard limits.newAccounts != nil else { return .granted }
        return try await change(now, holding: lock) { ledger in
            let wait = ledger.waitForAccount(limits, now: now)
            if wait == nil { ledger.takeAccount(limits, now: now) }
            return Self.reservation(wait)
        }
    }

    /// Whether the CA may be told to look at this name; each look that fails is counted.
    package func canValidate(_ name: AlternativeName, now: Date) async throws -> Reservation {
        guard let rate = limits.failedValidations,
            let until = try await ledger(now).waitForValidation(of: name, limits, now: now)
        else { return .granted }
        return .wait(until: until, because: "\(rate) failed validations of \(name.value)")
    }

    /// What of these can be asked for now, in their order: as ``LimitedIssuer/admit(_:now:)``.
    package func admit(_ demands: [IssuanceDemand], now: Date) async throws -> [Admission] {
        var ledger = try await ledger(now)
        return demands.map { demand in
            guard let wait = ledger.wait(for: demand, limits, now: now) else {
                ledger.take(for: demand, limits, now: now)
                return .now
            }
            ledger.take(for: demand, limits, now: now, onlyEmpty: true)
            return .wait(until: wait.until, because: wait.because)
        }
    }

    package func remaining(
        of certificates: [[AlternativeName]] = [], now: Date
    ) async throws -> [Remaining] {
        try await ledger(now).remaining(of: certificates, limits, now: now)
    }

    // MARK: After an answer

    package func recordFailedValidation(_ name: AlternativeName, now: Date) async throws {
        guard limits.failedValidations != nil else { return }
        try await change(now) { $0.takeFailure(of: name, limits, now: now) }
    }

    /// The CA has said `rateLimited`: nothing is asked for before the time that it named, at most a day ahead.
    /// - Parameter names: the refusal is about exactly these names; `nil`: about the account.
    package func blockUntil(_ date: Date, names: [AlternativeName]? = nil, now: Date) async throws {
        try await change(now) { $0.block(until: date, names: names, now: now) }
    }

    // MARK: The file

    private static func reservation(_ wait: (until: Date, because: String)?) -> Reservation {
        wait.map { .wait(until: $0.until, because: $0.because) } ?? .granted
    }

    /// A file that is damaged begins anew: the CA still has its own count, and says so.
    private func ledger(_ now: Date) async throws -> IssuanceLedger {
        let text = try await files.read(Self.file, of: issuer, in: .accounts)
        var ledger =
            text.flatMap { try? StoredJSON.decode(IssuanceLedger.self, from: $0.withBytes { Data($0) }) }
            ?? IssuanceLedger()
        ledger.settle(limits, now: now)
        return ledger
    }

    private func change<Value: Sendable>(
        _ now: Date, holding held: (any HeldLock)? = nil, _ body: (inout IssuanceLedger) -> Value
    ) async throws -> Value {
        let own = held == nil ? try await files.lock(issuer, in: .accounts, deadline: Self.lockDeadline) : nil
        defer { own?.release() }
        let before = try await ledger(now)
        var ledger = before
        let value = body(&ledger)
        guard ledger != before else { return value }
        var text = try StoredJSON.encode(ledger)
        while text.count > Self.sizeLimit {
            ledger.shorten()
            text = try StoredJSON.encode(ledger)
        }
        try await files.write(Secret(copying: text), to: Self.file, of: issuer, in: .accounts)
        return value
    }
}
