import CertsCore
import CertsTesting
import Foundation
import Testing

@testable import CertsIssuers

/// `kill -9` at each record of an ACME order and at random moments: the next start ends with one certificate of one order,
/// served by HAProxy.
@Suite(.serialized) struct ACMEKillTests {
    /// A host, its CA, and what is served all the while.
    struct Stage: Sendable {
        let scene: RotationScene
        let pebble: Pebble
        let watch: Watch

        static func make() async throws -> Stage {
            let directory = try TemporaryDirectory(prefix: "certs-e2e-acme")
            let pebble = try await Pebble.start(in: directory)
            let issuer = """
                ca:
                    type: acme
                    directory: \(pebble.directoryURL)
                    caFile: \(pebble.caFile)
                    acceptTerms: true
                    challenge: { type: http-01, listen: "127.0.0.1:\(pebble.httpPort)", selfCheck: { address: "127.0.0.1:\(pebble.httpPort)" } }
                """
            let scene = try await RotationScene.make(.init(issuers: issuer, issuer: "ca"))
            try await scene.certs("rotate", exits: 0)
            return Stage(scene: scene, pebble: pebble, watch: Watch(port: scene.balancer.port))
        }

        /// Kills the process by `begin`, starts it again, and looks at what came of it.
        func round(_ what: String, lostOrders: ClosedRange<Int> = 0...0, _ begin: () async throws -> Void) async throws
        {
            let before = try await scene.expectOneTruth()
            let (orders, certificates) = (pebble.orders, pebble.certificates)
            watch.reset()
            try await begin()
            try await scene.certs("rotate", exits: 0)
            if try await scene.status().revision == before.revision {
                // It died before the rotation had begun.
                try await scene.certs("rotate", "messenger", exits: 0)
            }
            let after = try await scene.expectOneTruth("\(what)")
            #expect(after.revision == before.revision.map { $0 + 1 }, "\(what)")
            #expect(pebble.certificates - certificates == 1, "\(what)")
            #expect(lostOrders.contains(pebble.orders - orders - 1), "\(what): \(pebble.orders - orders) orders")
            let allowed = Set([before.sha256, after.sha256].compactMap { $0 })
            #expect(watch.seen.isSubset(of: allowed), "\(what)")
            #expect(watch.failures.isEmpty, "\(what): \(watch.failures.prefix(3))")
        }
    }

    @Test func `one certificate of one order after each of fifty deaths`() async throws {
        let stage = try await Stage.make()
        defer { stage.pebble.stop() }
        let points =
            OrderRecords.Step.allCases.flatMap(\.faultPoints)
            + ["before-request", "after-request", "before-issue", "after-issue", "after-check", "after-apply"]
        for point in points {
            // An order whose URL was not kept cannot be found again.
            let isLost = point == "before-order-order"
            try await stage.round(point, lostOrders: isLost ? 1...1 : 0...0) {
                let killed = try await stage.scene.certs("rotate", "messenger", fault: "\(point):kill")
                #expect(killed.status == 128 + SIGKILL, "\(point): \(killed.all)")
            }
        }
        for round in points.count..<50 {
            let delay = Double.random(in: 0...0.25)
            try await stage.round("killed after \(delay) s (round \(round))", lostOrders: 0...1) {
                let program = stage.scene.program(["rotate", "messenger"])
                try await blocking.run {
                    let child = try program.start(output: "/dev/null", errors: "/dev/null")
                    usleep(UInt32(delay * 1_000_000))
                    kill(child, SIGKILL)
                    _ = Program.wait(for: child, seconds: 10)
                }
            }
        }
        try await stage.watch.end()
    }
}
