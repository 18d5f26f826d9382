import CertsTesting
import Foundation
import Testing

/// A year of certificates that are renewed as planned: no rule may say a word.
@Suite struct HealthyYearTests {
    static let year = 365 * 1440
    static let lifetimes = [90, 64, 47, 6]

    /// A year under a timer that runs once a day with up to an hour of random delay: as late as a renewal ever comes.
    private static func daily(_ days: Int) async throws -> Recording {
        var world = try await WatchedWorld(
            "\(days) d", validity: Double(days) * 86400, tick: 86400, jitter: 3600)
        try await world.run(until: year)
        // The certificates overlap by the time that is kept in reserve, and none was missed.
        let expected = Double(year) / 1440 / (Double(days) - (days < 10 ? Double(days) / 2 : min(30, Double(days) / 3)))
        #expect(Double(world.world.issuer.issued) >= expected.rounded(.down))
        #expect(Double(world.world.issuer.issued) <= expected * 1.6 + 1)
        return world.recording
    }

    @Test(.timeLimit(.minutes(20)))
    func theScopedRulesAreSilentForAYearOfAnyLifetime() async throws {
        var recordings: [Recording] = []
        for days in Self.lifetimes { recordings.append(try await Self.daily(days)) }
        let scoped = AlertRun(rules: "alerts-scoped.yml", step: 15, minutes: Self.year, recordings: recordings)
        #expect(try await scoped.firings() == [:])
        // The rule of the procedures is silent for 90 days, and by its nature not for less.
        let literal = AlertRun(rules: "alerts.yml", step: 15, minutes: 100 * 1440, recordings: recordings)
        #expect(
            Set(try await literal.firings().keys)
                == Set(Self.lifetimes.dropFirst().map { .init(scene: "\($0) d", alert: "SSLCertificateExpiring") }))
    }

    /// `certs serve` with its hourly tick.
    @Test(.timeLimit(.minutes(10)), arguments: [90, 6])
    func theServiceIsSilentThroughARenewal(_ days: Int) async throws {
        var world = try await WatchedWorld("hourly", validity: Double(days) * 86400)
        let minutes = days * 1440
        try await world.run(until: minutes)
        #expect(world.world.issuer.issued > 1)
        let run = AlertRun(
            rules: days < 90 ? "alerts-scoped.yml" : "alerts.yml", step: 5, minutes: minutes,
            recordings: [world.recording])
        #expect(try await run.firings() == [:])
    }
}
