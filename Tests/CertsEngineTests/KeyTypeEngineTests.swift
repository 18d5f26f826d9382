import CertsCore
import CertsCrypto
import CertsEngine
import CertsTesting
import Foundation
import Testing

@Suite struct KeyTypeEngineTests {
    /// Its RSA leaves live half as long as the others.
    private struct TwoLifetimes: Issuer {
        let name: Name
        let long: FakeIssuer
        let short: FakeIssuer

        init(_ name: Name, now: Date) throws {
            self.name = name
            long = try FakeIssuer(name: name, validity: 90 * 86400, now: now)
            short = try FakeIssuer(name: name, validity: 45 * 86400, now: now)
        }

        func trustAnchors() async throws -> [Data] { try await long.trustAnchors() + short.trustAnchors() }

        func issue(_ request: IssuanceRequest) async throws -> IssuanceOutcome {
            let isRSA = try PrivateKey(pem: request.key).algorithm == .rsa2048
            return try await (isRSA ? short : long).issue(request)
        }
    }

    @Test func `what ends first decides when the certificate is due`() async throws {
        let world = try await EngineWorld()
        var declarations = world.declarations
        declarations.certificates[0].key.algorithms = [.ecdsaP256, .rsa2048]
        var context = world.engine(declarations: declarations).context
        let issuer = try TwoLifetimes(world.issuer.name, now: world.clock.now.wall)
        context.issuers[issuer.name] = issuer
        let engine = RotationEngine(context)
        #expect(await engine.rotate([EngineWorld.name]).first?.rotation?.outcome == .committed)

        let state = try #require(try await world.certificateState())
        #expect(state.currentRecord?.keyAlgorithm.hasPrefix("rsa") == true)
        #expect(state.currentAlternates.count == 1)
        #expect(state.intendedFingerprints.count == 2)
        let end = try #require(state.record?.notAfter)
        #expect(abs(end.timeIntervalSince(world.clock.now.wall) - 45 * 86400) < 7200)
        #expect(state.dueAt.map { $0 < end } == true)
        let manifest = try await context.manifest(of: EngineWorld.name, revision: 1)
        #expect(manifest.records.map(\.keyAlgorithm).map { $0.prefix(3) } == ["ecd", "rsa"])
        #expect(manifest.record.notAfter == manifest.records.map(\.notAfter).min())
        world.clock.advance(by: 29 * 86400)
        #expect(try await engine.rotateDue().first?.rotation?.revision == 2)
        #expect(issuer.short.issued == 2 && issuer.long.issued == 2, "both are renewed, or neither")
    }

    @Test func `a second leaf that the issuer refuses stops both`() async throws {
        let world = try await EngineWorld()
        var declarations = world.declarations
        declarations.certificates[0].key.algorithms = [.ecdsaP256, .rsa2048]
        var context = world.engine(declarations: declarations).context
        let issuer = try TwoLifetimes(world.issuer.name, now: world.clock.now.wall)
        context.issuers[issuer.name] = issuer
        let engine = RotationEngine(context)
        _ = await engine.rotate([EngineWorld.name])
        let before = world.targets[0].live
        issuer.short.behaviour = .fails(.later)
        let rotation = try #require(await engine.rotate([EngineWorld.name]).first?.rotation)
        #expect(rotation.outcome == .failed)
        #expect(world.targets[0].live.calls == before.calls)
        #expect(try await world.revisions() == [1])
    }
}
