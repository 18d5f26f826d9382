import CertsTesting
import Foundation
import Testing

/// `certs plan --at` on certificates of every usual lifetime.
@Suite struct PlanTests {
    static let lifetimes = [6, 47, 90, 200, 398]

    private func scene() async throws -> RotationScene {
        let scene = try await RotationScene.make(serves: false)
        let issuers = Self.lifetimes.map { days in
            days % 2 == 0
                ? "  i\(days): { type: self-signed, validity: \(days)d }"
                : "  i\(days): { type: local-ca, commonName: CA \(days), validity: \(days)d }"
        }
        let certificates = Self.lifetimes.map {
            "  - { name: d\($0), dnsNames: [d\($0).example.com], key: { algorithm: ecdsa-p256 }, issuer: i\($0) }"
        }
        try scene.directory.write(
            (["version: 1", "state: ./state", "issuers:"] + issuers + ["certificates:"] + certificates).joined(
                separator: "\n") + "\n",
            to: "certs.yml")
        return scene
    }

    /// The rule, written out a second time: the earlier of 30 days and the share of the lifetime, before notAfter.
    private func due(_ certificate: StatusDocument.Certificate) throws -> (at: Date, reason: String) {
        let (begin, end) = (try #require(certificate.notBefore), try #require(certificate.notAfter))
        let days = end.timeIntervalSince(begin) / 86400
        if days < 10 { return (end.addingTimeInterval(-days / 2 * 86400), "half-of-lifetime") }
        if days / 3 < 30 { return (end.addingTimeInterval(-days / 3 * 86400), "third-of-lifetime") }
        return (end.addingTimeInterval(-30 * 86400), "before-expiry")
    }

    @Test func `tells the due date of the rule and the reason, now and years later`() async throws {
        let scene = try await scene()
        try await scene.certs("rotate", exits: 0)
        let known = try scene.decoded(StatusDocument.self, try await scene.certs("status", "-o", "json", exits: 0))
            .certificates
        let now = try scene.decoded(PlanDocument.self, try await scene.certs("plan", "-o", "json", exits: 0))
        let later = try scene.decoded(
            PlanDocument.self, try await scene.certs("plan", "--at", "2029-06-01", "-o", "json", exits: 0))
        #expect(later.at == (try Date.ISO8601FormatStyle().parse("2029-06-01T00:00:00Z")))
        for plan in [now, later] {
            #expect(Set(plan.items.map(\.certificate)) == Set(Self.lifetimes.map { "d\($0)" }))
            #expect(plan.items.map(\.dueAt) == plan.items.map(\.dueAt).sorted())
        }
        for certificate in known {
            let days = try #require(Int(certificate.name.dropFirst()))
            let lifetime =
                try #require(certificate.notAfter).timeIntervalSince(try #require(certificate.notBefore)) / 86400
            #expect(abs(lifetime - Double(days)) < 0.1)
            let rule = try due(certificate)
            let today = try #require(now.items.first { $0.certificate == certificate.name })
            #expect(abs(today.dueAt.timeIntervalSince(rule.at)) <= 1, "\(certificate.name)")
            #expect(today.reason == rule.reason)
            #expect(!today.due)
            let then = try #require(later.items.first { $0.certificate == certificate.name })
            #expect(
                abs(then.dueAt.timeIntervalSince(rule.at)) <= 1,
                "\(certificate.name): becoming expired changes no due date")
            #expect(then.reason == "expired")
            #expect(then.due)
        }
    }

    @Test func `planning changes nothing`() async throws {
        let scene = try await scene()
        try await scene.certs("rotate", exits: 0)
        func listing() throws -> [String] {
            try FileManager.default.subpathsOfDirectory(atPath: scene.state + "/live").sorted()
        }
        let before = try listing()
        try await scene.certs("plan", "--at", "2029-06-01", exits: 0)
        try await scene.certs("rotate", "--all", "--dry-run", exits: 0)
        #expect(try listing() == before)
    }
}
