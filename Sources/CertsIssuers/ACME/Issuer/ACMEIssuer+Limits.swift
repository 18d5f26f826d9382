package import CertsCore
package import Foundation

extension ACMEIssuer: LimitedIssuer {
    package func admit(_ demands: [IssuanceDemand], now: Date) async throws -> [Admission] {
        try await limiter.admit(demands, now: now)
    }
}
