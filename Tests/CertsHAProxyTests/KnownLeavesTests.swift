import CertsCore
import Foundation
import Testing

@testable import CertsHAProxy

@Suite struct KnownLeavesTests {
    private func leaf(_ byte: UInt8) throws -> Fingerprint {
        try #require(Fingerprint(bytes: Array(repeating: byte, count: 32)))
    }

    private func deployment(_ name: String, from old: UInt8, to new: UInt8) throws -> BundleDeployment {
        let site = try Site()
        var bundle = try site.bundle(2)
        bundle = StagedBundle(
            certificate: try Name(name), revision: 2, pem: bundle.pem, leaf: bundle.leaf, fingerprint: try leaf(new),
            names: bundle.names)
        let previous = PreviousFile(
            digest: "", attributes: FileAttributes(mode: 0o600, owner: 0, group: 0), leaf: try leaf(old))
        let receipt = DeploymentReceipt(
            method: "runtime", reloads: false,
            files: [FileReceipt(path: "/x.pem", role: .bundle(slot: nil), previous: previous)], baseline: [],
            takenAt: Date())
        return BundleDeployment(bundle: bundle, receipt: receipt, resuming: false)
    }

    @Test func `what a rotation replaces and what it puts there is known, and nothing else`() throws {
        let known = KnownLeaves()
        known.record([try deployment("a", from: 1, to: 2), try deployment("b", from: 3, to: 4)])
        for byte in UInt8(1)...4 { #expect(known.contains(try leaf(byte))) }
        #expect(!known.contains(try leaf(9)))
    }
}
