import CertsCore
import CertsTesting
import Foundation
import Testing

/// `kill -9` of certs in the middle of five nodes: what each node had come to stands in the journal, and the next start
/// ends with one certificate on all five.
@Suite struct FleetKillTests {
    private static func points(_ steps: [Rotation.Step], _ nodes: [String]) -> [String] {
        nodes.flatMap { node in KillTests.points(steps).map { "\($0)@edge/\(node)" } }
    }

    /// The points of the way forward, dealt to a few fleets that work side by side.
    static let forward: [[String]] = [
        points([.apply, .verify], ["n1"]) + ["after-issue", "after-prepare@edge/n3"],
        points([.apply, .verify], ["n2"]) + ["before-prepare@edge/n5", "before-commit"],
        points([.apply, .verify], ["n4"]) + ["after-apply@edge/n5", "after-commit"],
    ]

    @Test(arguments: forward)
    func `the rotation is finished by the next start`(_ points: [String]) async throws {
        let fleet = try await Fleet.make()
        var before = try await fleet.expectOneFingerprint()
        for point in points {
            let killed = try await fleet.certs("rotate", "messenger", exits: 128 + SIGKILL, fault: "\(point):kill")
            try await fleet.certs("rotate", exits: 0)
            let after = try await fleet.expectOneFingerprint("\(point): \(killed.all)")
            #expect(after != before, "\(point)")
            #expect(try await fleet.history().first?.outcome == "committed", "\(point)")
            before = after
        }
    }

    static let back: [[String]] = [
        points([.restore], ["n5", "n2"]) + ["after-verify-restored@edge/n3"],
        points([.restore], ["n1"]) + ["before-verify-restored@edge/n5", "after-verify-restored@edge/n1"],
    ]

    @Test(arguments: back)
    func `the rollback is finished by the next start`(_ points: [String]) async throws {
        let fleet = try await Fleet.make()
        let last = try fleet["n5"]
        _ = try await FleetTests.secondFile(fleet, last)
        let before = try await fleet.expectOneFingerprint()
        for point in points {
            let killed = try await fleet.certs("rotate", "messenger", exits: 128 + SIGKILL, fault: "\(point):kill")
            try await fleet.certs("rotate", exits: 6)
            #expect(try await fleet.expectOneFingerprint("\(point): \(killed.all)") == before, "\(point)")
            #expect(try await fleet.history().first?.outcome == "rolled-back", "\(point)")
        }
    }

    /// The process dies with the new certificate on n1 and n2, and n1 is not there when the next one comes.
    @Test func `a node that is away when the next start comes is found with the old certificate later`() async throws {
        let fleet = try await Fleet.make()
        let before = try await fleet.expectOneFingerprint()
        try await fleet.certs("rotate", "messenger", exits: 128 + SIGKILL, fault: "after-verify@edge/n2:kill")
        let canary = try fleet["n1"]
        canary.hide(true)
        try await blocking.run { canary.balancer.crash() }
        let run = try await fleet.certs("rotate", exits: 1)
        #expect(run.errors.contains("ROLLBACK FAILED"), "\(run.all)")
        canary.hide(false)
        try await canary.balancer.start()
        #expect(try await fleet.expectOneFingerprint("\(run.all)") == before)
        try await fleet.certs("deploy", "messenger", exits: 0)
        #expect(try await fleet.expectOneFingerprint() != before)
    }
}
