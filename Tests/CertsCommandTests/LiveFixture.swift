import CertsCore
import Foundation

@testable import certs

/// Rotations under way, at fixed times.
enum LiveFixture {
    static let start = Date(timeIntervalSince1970: 1_782_900_000)

    static func rotation(_ name: String) throws -> Rotation {
        Rotation(
            id: name, certificate: try Name(name), revision: 4, purpose: .issue, reason: .requested,
            issuer: try Name("local"), deployments: [Deployment(node: NodeID(try Name("loadbalancer")))],
            startedAt: start)
    }

    static func receipt() -> DeploymentReceipt {
        let file = FileReceipt(path: "/etc/haproxy/certs/server.pem", role: .bundle(slot: nil), previous: nil)
        return DeploymentReceipt(method: "runtime", reloads: false, files: [file], baseline: [], takenAt: start)
    }

    /// How long each stage takes, in milliseconds.
    static let times: [Rotation.Step: Int] = [
        .key: 4, .request: 1, .issue: 312, .check: 3, .stage: 5, .prepare: 41, .apply: 18, .verify: 87, .commit: 6,
        .abandon: 2,
    ]

    /// Reports a rotation until it is at `step`.
    /// - Returns: the lines that stay.
    static func advance(
        _ rotation: inout Rotation, to step: Rotation.Step, in lines: inout LiveLines, at now: inout Duration,
        width: Int = 200
    ) -> [String] {
        var staying = lines.update(rotation, at: now, width: width)
        while rotation.step != step, !rotation.isFinished {
            now += .milliseconds(times[rotation.step] ?? 0)
            if case .prepare = rotation.action {
                rotation.complete(.prepared(receipt(), findings: []), at: start)
            } else {
                rotation.complete(at: start)
            }
            staying += lines.update(rotation, at: now, width: width)
        }
        return staying
    }

    /// What is on the screen in the middle of `rotate --all`: what stays, then what is under way.
    static func frame(width: Int) throws -> String {
        var (lines, now) = (LiveLines(total: 12), Duration.zero)
        var done = try rotation("messenger")
        var bad = try rotation("shop")
        var slow = try rotation("old-intranet.office.example.com")
        var last = try rotation("api")
        var staying = advance(&done, to: .finished, in: &lines, at: &now, width: width)
        _ = advance(&bad, to: .issue, in: &lines, at: &now, width: width)
        now += .milliseconds(700)
        bad.fail(CertsError(.issuerUnavailable, "the CA does not answer"), at: start)
        staying += advance(&bad, to: .finished, in: &lines, at: &now, width: width)
        _ = advance(&slow, to: .issue, in: &lines, at: &now, width: width)
        _ = advance(&last, to: .verify, in: &lines, at: &now, width: width)
        let frame = lines.frame(at: now + .milliseconds(1250), width: width, height: 24, mark: "…")
        return (staying + frame).joined(separator: "\n")
    }
}
