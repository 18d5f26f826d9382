import CertsCore
import CertsEngine
import Foundation
import Testing

@testable import certs

/// `certs check --nagios`: the line and the code.
@Suite struct PluginResultTests {
    private let now = Date(timeIntervalSince1970: 1_800_000_000)

    private func entry(_ name: String, days: Double?, failures: Int = 0) throws -> StatusReport.Entry {
        var state = CertificateState(name: try Name(name))
        state.consecutiveFailures = failures
        if let days {
            var record = CertificateRecord()
            record.notAfter = now.addingTimeInterval(days * 86400)
            (state.record, state.revision, state.issuedRevision) = (record, 1, 1)
        }
        return StatusReport.Entry(nil, state, at: now)
    }

    @Test func `each state has its word, its code and its figures`() throws {
        let well = PluginResult(
            StatusReport(certificates: [try entry("a", days: 40), try entry("b", days: 60.5)]), at: Date())
        #expect(well.state.rawValue == 0)
        #expect(
            well.line == "CERTS OK - 2 certificates are well, first to expire: a in 40.00 days"
                + " | certificates=2;;;0 warning=0;;;0 critical=0;;;0 days_left=40.00")
        let warning = PluginResult(StatusReport(certificates: [try entry("a", days: 40, failures: 1)]), at: Date())
        #expect(warning.state.rawValue == 1)
        #expect(warning.line.hasPrefix("CERTS WARNING - a is failing, "))
        let critical = PluginResult(
            StatusReport(certificates: [try entry("a", days: -1), try entry("b", days: nil)]), at: Date())
        #expect(critical.state.rawValue == 2)
        #expect(critical.line.hasPrefix("CERTS CRITICAL - a is expired, b is missing, "))
        #expect(critical.line.hasSuffix(" critical=1;;;0 days_left=-1.00"))
        let none = PluginResult(StatusReport(certificates: []), at: Date())
        #expect(none.line.hasSuffix("days_left=U"))
        let unknown = PluginResult(unknown: CertsError(.stateCorrupt, "a | b\nc"))
        #expect((unknown.state.rawValue, unknown.line) == (3, "CERTS UNKNOWN - a / b\\u{a}c"))
    }

    @Test func `many are cut, and it stays one line`() throws {
        let result = PluginResult(
            StatusReport(certificates: try (0..<50).map { try entry("c\($0)", days: -1) }), at: Date())
        #expect(result.line.contains("and 45 more"))
        #expect(!result.line.contains("\n"))
    }
}
