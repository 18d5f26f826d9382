import CertsCore
import CertsCrypto
import CertsEngine
import CertsIssuers
import CertsStore
import CertsTesting
import Foundation
import Logging
import Synchronization
import Testing

/// Renewal information (RFC 9773) from a real server that has it, acme2certifier: from the first certificate to the one
/// that the server wishes for.
@Suite struct ACMERenewalTests {
    private struct Scene {
        let directory: TemporaryDirectory
        let state: StateDirectory
        let database: Database
        let server: ACMEToCertifier
        /// How far our clock has moved; the server's has not.
        private let passed = PassedTime()
        private let logger = Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() }
        static let name = (try? Name("messenger")) ?? EngineWorld.name

        init(_ options: ACMEToCertifier.Options) async throws {
            directory = try TemporaryDirectory()
            state = try await StateDirectory.open(at: directory.path + "/state", create: true)
            database = try await Database.open(in: state)
            server = try await ACMEToCertifier.start(in: directory, options)
            try FileManager.default.createDirectory(
                atPath: directory.path("answers"), withIntermediateDirectories: false)
        }

        /// As a new process makes it.
        func engine() throws -> RotationEngine {
            // The server looks for no answer, so nobody has to serve it.
            let acme = ACMEDeclaration(
                directory: server.directoryURL, caFile: server.caFile, contact: ["mailto:ops@example.com"],
                acceptTerms: true,
                challenges: [
                    ChallengeDeclaration(
                        method: .http01(.directory(directory.path("answers"))), selfCheck: SelfCheck(isEnabled: false))
                ])
            let issuer = ACMEIssuer(
                name: try Name("ca"), declaration: acme, anchors: [], files: state, logger: logger)
            let declarations = Declarations(
                stateDirectory: state.path, issuers: [IssuerDeclaration(name: issuer.name, kind: .acme(acme))],
                certificates: [
                    CertificateDeclaration(
                        name: Self.name, names: [.dns("messenger.example.com")], issuer: issuer.name)
                ])
            return RotationEngine(
                EngineContext(
                    declarations: declarations, issuers: [issuer.name: issuer], targets: [:], revisions: state,
                    journal: database, inventory: database, schedule: database, quarantine: state,
                    makeBundle: { leaf, _, key in key.withBytes { Secret(copying: Array(leaf.pem.utf8) + $0) } },
                    clock: { [passed] in passed.reading }, logger: logger))
        }

        func pass(hours: Double) { passed.seconds.withLock { $0 += hours * 3600 } }

        var now: CertificateState {
            get async throws { try #require(try await database.state(of: Self.name)) }
        }
    }

    private final class PassedTime: Sendable {
        let seconds = Mutex<TimeInterval>(0)

        var reading: ClockReading {
            let more = seconds.withLock { $0 }
            let sinceBoot = ProcessInfo.processInfo.systemUptime + more
            return ClockReading(wall: Date(timeIntervalSinceNow: more), sinceBoot: sinceBoot, bootID: "test")
        }
    }

    @Test func `the pick stays with its window, moves with it, and a window in the past renews at once`() async throws {
        var options = ACMEToCertifier.Options(validityDays: 60, renewalThreshold: 85, retryAfter: 3600)
        let scene = try await Scene(options)
        defer { scene.server.stop() }
        let issued = try await scene.engine().rotateDue().compactMap(\.rotation)
        #expect(issued.map(\.outcome) == [.committed], "\(issued.map(\.failure))")
        try await scene.engine().refreshHints(random: { 0.5 })
        let first = try #require(try await scene.now.hint)
        #expect(first.start < first.pick && first.pick < first.end)

        // Before its time nothing is asked; after it the same window gives the same pick.
        try await scene.engine().refreshHints(random: { 0.1 })
        #expect(try await scene.now.hint == first)
        scene.pass(hours: 2)
        try await scene.engine().refreshHints(random: { 0.1 })
        let asked = try #require(try await scene.now.hint)
        #expect(asked.checkAt > first.checkAt)
        #expect(asked.pick == first.pick)

        options.renewalThreshold = 60
        try await scene.server.restart(options)
        scene.pass(hours: 2)
        try await scene.engine().refreshHints(random: { 0.1 })
        let moved = try #require(try await scene.now.hint)
        #expect(moved.start < first.start)
        #expect(moved.pick < first.pick)
        #expect(try await scene.engine().rotateDue().allSatisfy(\.isSkipped))

        options.renewsAtOnce = true
        try await scene.server.restart(options)
        scene.pass(hours: 2)
        try await scene.engine().refreshHints()
        let before = try await scene.now
        let rotations = try await scene.engine().rotateDue().compactMap(\.rotation)
        #expect(rotations.map(\.outcome) == [.committed])
        #expect(rotations.map(\.reason) == [.issuerHint])
        #expect(try await scene.now.record?.sha256 != before.record?.sha256)
    }
}
