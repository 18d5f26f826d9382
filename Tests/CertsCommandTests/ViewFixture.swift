import CertsCore
import Foundation

@testable import CertsEngine
@testable import certs

/// Certificates in every state, at a fixed time; the views in the README and in docs/views are made of them.
enum ViewFixture {
    static let now = Date(timeIntervalSince1970: 1_782_900_000)

    /// - Parameters:
    ///   - left: days until it expires; `nil`: nothing has been issued.
    ///   - of: its lifetime in days.
    static func entry(
        _ name: String, _ state: CertificateState.Condition, left: Double?, of lifetime: Double = 90,
        served: [Bool] = [true, true], because: String? = nil
    ) throws -> StatusReport.Entry {
        var certificate = CertificateState(name: try Name("fixture"))
        if let left {
            var record = CertificateRecord()
            record.notAfter = now.addingTimeInterval(left * 86400)
            record.notBefore = record.notAfter.addingTimeInterval(-lifetime * 86400)
            record.sha256 = String(repeating: "5a", count: 32)
            certificate.record = record
            certificate.revision = 3
            certificate.issuedRevision = 3
            (certificate.dueAt, certificate.dueReason) = RenewalPolicy().due(
                notBefore: record.notBefore, notAfter: record.notAfter)
        }
        var entry = StatusReport.Entry(nil, certificate, at: now)
        entry.name = name
        entry.state = state
        if state == .failing { entry.consecutiveFailures = 2 }
        entry.nextAttemptBecause = because
        entry.targets = [
            StatusReport.Target(
                name: "loadbalancer", node: nil, state: "deployed",
                endpoints: served.map { matches in
                    StatusReport.EndpointEntry(
                        address: "127.0.0.1:443", serverName: nil, servedSha256: nil, matches: matches, problem: nil,
                        observedAt: now)
                })
        ]
        return entry
    }

    /// As the engine sorts them.
    static func report() throws -> StatusReport {
        let entries = [
            try entry("messenger", .valid, left: 71.4),
            try entry("shop.example.com", .due, left: 28.2),
            try entry("api", .failing, left: 12.6, because: "2 failures; ca.example: 503"),
            try entry("old-intranet.office.example.com", .expired, left: -3.25, of: 365),
            try entry("login", .valid, left: 55, served: [true, false]),
            try entry("new-project", .missing, left: nil, served: []),
            try entry("edge", .valid, left: 4.9, of: 6),
            try entry("partner", .waiting, left: 40, of: 120, because: "a request waits for its certificate"),
        ]
        return StatusReport(certificates: StatusReport.Entry.byUrgency(entries))
    }

    static func status(width: Int?, isUTF8: Bool = true, usesColor: Bool = false) throws -> String {
        let style = TerminalStyle(width: width, isUTF8: isUTF8, usesColor: usesColor)
        return StatusView(entries: try report().certificates, now: now, style: style).render()
    }

    static func timeline(
        width: Int?, weeks: Int = 26, isUTF8: Bool = true, usesColor: Bool = false
    ) throws -> String {
        let style = TerminalStyle(width: width, isUTF8: isUTF8, usesColor: usesColor)
        return TimelineView(report: TimelineReport(try report(), weeks: weeks, at: now), style: style).render()
    }
}
