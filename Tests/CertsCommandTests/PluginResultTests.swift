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
                + " | certificates=2;;;0 warning=0;;;0 critical=0;;;0 missing=0;;;0 waiting=0;;;0 valid=2;;;0 due=0;;;0"
                + " undeployed=0;;;0 failing=0;;;0 expired=0;;;0 unreadable=0;;;0 days_left=40.00")
        let warning = PluginResult(StatusReport(certificates: [try entry("a", days: 40, failures: 1)]), at: Date())
        #expect(warning.state.rawValue == 1)
        #expect(warning.line.hasPrefix("CERTS WARNING - a is failing, "))
        let critical = PluginResult(
            StatusReport(certificates: [try entry("a", days: -1), try entry("b", days: nil)]), at: Date())
        #expect(critical.state.rawValue == 2)
        #expect(critical.line.hasPrefix("CERTS CRITICAL - a is expired, b is missing, "))
        #expect(critical.line.contains(" critical=1;;;0 missing=1;;;0 "))
        #expect(critical.line.hasSuffix(" days_left=-1.00"))
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

    private func watched(_ name: String, days: Double?, problem: WatchReason? = nil) -> StatusReport.Entry {
        var record = CertificateRecord()
        record.notAfter = now.addingTimeInterval((days ?? 0) * 86400)
        return StatusReport.Entry(
            watched: name, WatchedFacts(record: days == nil ? nil : record, problem: problem), at: now)
    }

    @Test func `what is watched counts like what is managed`() throws {
        let expired = PluginResult(
            StatusReport(certificates: [try entry("a", days: 40), watched("/w/old.pem", days: -2)]), at: now)
        #expect(expired.state == .critical)
        #expect(expired.line.hasPrefix("CERTS CRITICAL - /w/old.pem is expired, first to expire: /w/old.pem in -2.00"))
        #expect(expired.line.contains("certificates=2;;;0 warning=0;;;0 critical=1;;;0"))
        #expect(expired.line.contains(" expired=1;;;0 "))
        let down = PluginResult(
            StatusReport(certificates: [watched("db:5432", days: 20, problem: .unreachable)]), at: now)
        #expect(down.state == .warning)
        #expect(down.line.hasPrefix("CERTS WARNING - db:5432 is unreadable (unreachable), "))
        #expect(down.line.contains("unreadable=1;;;0"))
        let source = PluginResult(
            StatusReport(certificates: [try entry("a", days: 40)]), downSources: ["legacy"], at: now)
        #expect(source.state == .warning)
        #expect(source.line.hasPrefix("CERTS WARNING - legacy cannot be looked at, "))
    }

    @Test func `an endpoint of ours that is down is a warning`() throws {
        var state = CertificateState(name: try Name("a"))
        var record = CertificateRecord()
        record.notAfter = now.addingTimeInterval(40 * 86400)
        record.sha256 = String(repeating: "ab", count: 32)
        (state.record, state.currentRecord, state.revision, state.issuedRevision) = (record, record, 1, 1)
        let endpoint = Endpoint(host: "127.0.0.1", port: 443, serverName: "a.example.com")
        state.targets = [
            .init(
                node: NodeID(try Name("edge")), state: .verified,
                endpoints: [.init(endpoint: endpoint, served: nil, problem: "refused", observedAt: now)])
        ]
        let result = PluginResult(
            StatusReport(certificates: [StatusReport.Entry(nil, state, at: now)]), at: now)
        #expect(result.state == .warning)
        #expect(result.line.hasPrefix("CERTS WARNING - a is not seen at an endpoint, "))
    }
}
