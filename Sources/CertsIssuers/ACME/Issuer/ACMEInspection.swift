import CertsCore
import Foundation

/// What `certs check --live` finds on the way to a certificate of an ACME CA. It orders nothing, and makes neither an
/// account nor a key.
struct ACMEInspection: Sendable {
    let issuer: Name
    let declaration: ACMEDeclaration
    /// In order of preference.
    let solvers: [any ChallengeSolver]
    let sources: Sources
    /// How long new paths are begun; those that are under way then end by their own deadlines.
    var pathBudget: Duration = .seconds(120)

    /// Where the facts come from; what is `nil` is not looked at.
    struct Sources: Sendable {
        /// Read now, from the CA.
        var directory: @Sendable () async throws -> ACMEDirectoryView
        /// The `Date` of an answer of the CA (RFC 9110 §6.6.1), and our time when it came; `nil`: it sends none.
        var clocks: @Sendable () async throws -> (server: Date, ours: Date)?
        /// The account of the key on disk (`onlyReturnExisting`); `nil`: there is none.
        var account: @Sendable () async throws -> ACMEAccountView?
        /// The names for which CAA records forbid this CA, or could not be read (RFC 8659).
        var caa: (@Sendable (CAAQuestion) async -> [CAARefusal])?
        /// Finds the authoritative servers of a name; throws where there are none.
        var authoritativeServers: (@Sendable (String) async throws -> Void)?
        /// What is left of the limits that we keep count of.
        var limits: (@Sendable () async throws -> [LimitLeft])?
    }

    struct CAAQuestion: Sendable {
        var names: [AlternativeName]
        /// What CAA records may call the CA.
        var issuerDomains: [String]
        var accountURL: String?
        /// The challenges that can be answered for a name.
        var methods: @Sendable (AlternativeName) -> Set<ChallengeType>
    }

    /// One token bucket.
    struct LimitLeft: Sendable, Hashable {
        /// As in the configuration, with what it is about: `perDomain example.com`.
        var limit: String
        var left: Int
        var total: Int
    }

    /// - Parameter certificates: those that name this issuer.
    func findings(for certificates: [CertificateDeclaration]) async -> [Finding] {
        let names = Self.names(of: certificates)
        async let paths = pathFindings(names)
        async let limits = limitFindings()
        let (directory, directoryFindings) = await lookAtDirectory()
        guard let directory else { return await directoryFindings + paths + limits }
        async let clock = clockFindings()
        let (account, accountFindings) = await lookAtAccount(directory)
        let caa = await caaFindings(names, directory, account)
        return await directoryFindings + clock + accountFindings + caa + paths + limits
    }

    /// Each name once, in the order of the configuration.
    private static func names(of certificates: [CertificateDeclaration]) -> [AlternativeName] {
        var seen: Set<AlternativeName> = []
        return certificates.flatMap(\.names).filter { seen.insert($0).inserted }
    }

    // MARK: The CA

    private func lookAtDirectory() async -> (ACMEDirectoryView?, [Finding]) {
        let directory: ACMEDirectoryView
        do {
            directory = try await sources.directory()
        } catch {
            return (nil, [Self.finding(error, id: "directory-unusable", remedy: "check `directory:` and `caFile:`")])
        }
        var findings: [Finding] = []
        if let profile = declaration.profile, directory.profiles[profile.name] == nil {
            let offered = directory.profiles.keys.sorted().prefix(20).joined(separator: ", ")
            findings.append(
                Finding(
                    id: "profile-not-offered", severity: profile.isRequired ? .error : .warning,
                    message: "the CA does not offer the profile '\(profile.name)'"
                        + (profile.isRequired ? "" : ", so it is ordered without one"),
                    remedy: offered.isEmpty
                        ? "leave `profile:` out: this CA has none"
                        : "choose one of: \(TerminalText.sanitized(offered, limit: 400))"))
        }
        return (directory, findings)
    }

    /// A signed time is compared at the CA, and dates of certificates here.
    private func clockFindings() async -> [Finding] {
        do {
            guard let clocks = try await sources.clocks() else { return [] }
            let ahead = clocks.ours.timeIntervalSince(clocks.server)
            guard abs(ahead) > 60 else { return [] }
            let amount = abs(ahead) > 3600 ? "\(Int(abs(ahead) / 3600)) h" : "\(Int(abs(ahead))) s"
            return [
                Finding(
                    id: "clock-skewed", severity: abs(ahead) > 3600 ? .error : .warning,
                    message: "this host's clock is \(amount) \(ahead > 0 ? "ahead of" : "behind") the CA's",
                    remedy: "set the clock right, and keep it so with NTP: new certificates may not be valid yet here")
            ]
        } catch {
            return [
                Self.finding(
                    error, id: "nonce-unavailable", remedy: "try again: without a nonce nothing can be ordered")
            ]
        }
    }

    // MARK: Names

    private func caaFindings(
        _ names: [AlternativeName], _ directory: ACMEDirectoryView, _ account: ACMEAccountView?
    ) async -> [Finding] {
        // A CA that does not tell its names cannot be looked for in CAA records.
        guard let ask = sources.caa, !directory.caaIdentities.isEmpty, !names.isEmpty else { return [] }
        let question = CAAQuestion(
            names: names, issuerDomains: directory.caaIdentities, accountURL: account?.url,
            methods: { [declaration] in declaration.challengeTypes(for: $0) })
        return await ask(question).map(\.finding)
    }

    private func limitFindings() async -> [Finding] {
        guard let ask = sources.limits else { return [] }
        do {
            return try await ask().filter { $0.left < $0.total }.map { one in
                Finding(
                    id: one.left < 1 ? "limit-reached" : "limit-used", severity: one.left < 1 ? .warning : .info,
                    message:
                        "\(TerminalText.sanitized(one.limit, limit: 300)): \(max(0, one.left)) of \(one.total) left, as far "
                        + "as we know",
                    remedy: one.left < 1 ? "wait: `certs plan` tells when it goes on" : "nothing is to be done")
            }
        } catch {
            return [Self.finding(error, id: "limits-unreadable", remedy: "look at the state directory")]
        }
    }

    /// An error as a finding; `remedy` where it has none of its own.
    static func finding(_ error: any Error, id: String, remedy: String) -> Finding {
        let known = CertsError.wrapping(error)
        let details = known.details.isEmpty ? "" : ": " + known.details.joined(separator: "; ")
        return Finding(
            id: id, severity: .error, message: TerminalText.sanitized(known.message + details, limit: 1000),
            remedy: TerminalText.sanitized(known.hint ?? remedy, limit: 1000))
    }
}
