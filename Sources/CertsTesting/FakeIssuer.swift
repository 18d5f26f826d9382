package import CertsCore
import CertsCrypto
package import Foundation
import Synchronization

/// An issuer that signs with a root of its own, counts, and lies or fails where it is told to. It says when to renew, and
/// how much it takes, only where it is told to as well.
package final class FakeIssuer: RenewalAdvisor, RevokingIssuer, LimitedIssuer {
    package let name: Name

    /// What it does with the next requests.
    package enum Behaviour: Sendable, Equatable {
        case honest
        case pending
        case fails(CertsError.Retry)
        /// Fails with an error of this code.
        case refuses(CertsError.Code, CertsError.Retry)
        /// Saves a handle, then is pending until the time.
        case holds(until: Date)
        /// Signs a key of its own instead of the one that was asked for.
        case otherKey
        case otherNames
        case expired
        case notYetValid
        case empty
        case garbage
    }

    private struct State {
        var behaviour = Behaviour.honest
        var behaviours: [Name: Behaviour] = [:]
        var issued = 0
        var asked = 0
        var requests: [IssuanceRequest] = []
        var advice: @Sendable (Data) throws -> SuggestedWindow? = { _ in nil }
        var advised = 0
        var revoked: [(target: RevocationTarget, reason: RevocationReason)] = []
        var admission: @Sendable ([IssuanceDemand], Date) async throws -> [Admission] = { demands, _ in
            demands.map { _ in .now }
        }
    }

    private let state = Mutex(State())
    private let authority: LocalAuthority
    package let validity: TimeInterval

    package init(name: Name, validity: TimeInterval = 90 * 86400, now: Date = Date()) throws {
        self.name = name
        self.validity = validity
        authority = try LocalAuthority.make(policy: LocalAuthorityPolicy(commonName: "Fake"), now: now)
    }

    package var behaviour: Behaviour {
        get { state.withLock { $0.behaviour } }
        set { state.withLock { $0.behaviour = newValue } }
    }
    /// Another behaviour for one certificate.
    package func behave(_ behaviour: Behaviour?, for certificate: Name) {
        state.withLock { $0.behaviours[certificate] = behaviour }
    }

    /// How many certificates left this issuer.
    package var issued: Int { state.withLock { $0.issued } }
    package var asked: Int { state.withLock { $0.asked } }

    /// All that it was asked for.
    package var requests: [IssuanceRequest] { state.withLock { $0.requests } }
    /// What it says when it is asked when to renew a leaf (DER).
    package func advise(_ advice: @escaping @Sendable (Data) throws -> SuggestedWindow?) {
        state.withLock { $0.advice = advice }
    }
    /// How often it was asked.
    package var advised: Int { state.withLock { $0.advised } }
    package var revoked: [(target: RevocationTarget, reason: RevocationReason)] { state.withLock { $0.revoked } }
    /// What it says when it is asked how much it takes.
    package func limit(_ admission: @escaping @Sendable ([IssuanceDemand], Date) async throws -> [Admission]) {
        state.withLock { $0.admission = admission }
    }

    package func trustAnchors() async throws -> [Data] { [authority.root.der] }

    package func suggestedWindow(for leaf: Data, now: Date) async throws -> SuggestedWindow? {
        let advice = state.withLock { state in
            state.advised += 1
            return state.advice
        }
        return try advice(leaf)
    }

    package func revoke(_ target: RevocationTarget, reason: RevocationReason, now: Date) async throws {
        state.withLock { $0.revoked.append((target, reason)) }
    }

    package func admit(_ demands: [IssuanceDemand], now: Date) async throws -> [Admission] {
        try await state.withLock { $0.admission }(demands, now)
    }

    package func issue(_ request: IssuanceRequest) async throws -> IssuanceOutcome {
        state.withLock {
            $0.asked += 1
            $0.requests.append(request)
        }
        let now = request.now
        var csr = try CertificateRequest(der: request.csr)
        var names = request.declaration.names
        var moment = now
        switch state.withLock({ $0.behaviours[request.declaration.name] ?? $0.behaviour }) {
        case .honest: break
        case .pending: return .pending(ResumeHandle("ticket"), retryAt: nil)
        case .fails(let retry):
            throw CertsError(.issuerUnavailable, "the fake issuer is down", subject: name.rawValue, retry: retry)
        case .refuses(let code, let retry):
            throw CertsError(code, "the fake issuer '\(name)' will not", subject: name.rawValue, retry: retry)
        case .holds(let until):
            let handle = ResumeHandle("order of \(csr.spkiSHA256)", waitingFor: "a challenge")
            if request.resuming != handle { try await request.save(handle) }
            if now < until { return .pending(handle, retryAt: until) }
        case .otherKey:
            csr = try CertificateRequest.make(subject: .init(), names: names, key: PrivateKey.generate(.ecdsaP256))
        case .otherNames: names = [.dns("other.example.com")]
        case .expired: moment = now.addingTimeInterval(-validity - 86400)
        case .notYetValid: moment = now.addingTimeInterval(86400)
        case .empty: return .issued(chain: [])
        case .garbage: return .issued(chain: [Data("<html>".utf8)])
        }
        let signer =
            moment < now
            ? try LocalAuthority.make(policy: LocalAuthorityPolicy(commonName: "Fake"), now: moment) : authority
        let leaf = try signer.issue(
            request: csr, subject: request.declaration.subject, names: names, validity: validity, now: moment)
        state.withLock { $0.issued += 1 }
        return .issued(chain: [leaf.der, signer.issuing.der])
    }
}
