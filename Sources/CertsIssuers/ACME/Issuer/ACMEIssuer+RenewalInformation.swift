package import CertsCore
import CertsCrypto
package import Foundation

extension ACMEIssuer: RenewalAdvisor {
    /// RFC 9773 §4. `nil` also where the declaration does not want it.
    package func suggestedWindow(for leaf: Data, now: Date) async throws -> SuggestedWindow? {
        guard declaration.usesRenewalInfo else { return nil }
        return try await told { try await session.suggestedWindow(for: try Certificate(der: leaf)) }
    }
}
