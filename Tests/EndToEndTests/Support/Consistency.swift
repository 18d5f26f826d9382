import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

extension RotationScene {
    /// Expects that one certificate, and only one, is the truth everywhere: served, on disk, in HAProxy's memory, in the
    /// state directory and in the inventory; and that nothing half done is left (the invariants I1 to I5 of a rotation).
    /// - Returns: its status.
    @discardableResult
    func expectOneTruth(_ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation) async throws
        -> StatusDocument.Certificate
    {
        let status = try await status()
        let disk = try onDisk().record
        let served = try await served()
        #expect(served == status.sha256, comment, sourceLocation: sourceLocation)
        #expect(disk.sha256 == served, comment, sourceLocation: sourceLocation)

        let (list, memory) = try await blocking.run { [self] in
            (try balancer.ask("show ssl cert"), try balancer.ask("show ssl cert \(bundle)"))
        }
        #expect(!list.split(separator: "\n").contains { $0.hasPrefix("*") }, comment, sourceLocation: sourceLocation)
        #expect(memory.lowercased().contains(disk.sha1), comment, sourceLocation: sourceLocation)
        #expect(memory.contains("Status: Used"), comment, sourceLocation: sourceLocation)

        // The key of the bundle belongs to its leaf, and is the one of the current revision.
        let bytes = try Data(contentsOf: URL(filePath: bundle))
        let key = try PrivateKey(pem: Secret(copying: bytes))
        #expect(key.matches(try onDisk()), comment, sourceLocation: sourceLocation)
        let live = state + "/live/messenger"
        let current = try FileManager.default.destinationOfSymbolicLink(atPath: live + "/current")
        #expect(current == status.revision.map(String.init), comment, sourceLocation: sourceLocation)
        let kept = FileManager.default.contents(atPath: "\(live)/current/bundle.pem")
        #expect(kept == bytes, comment, sourceLocation: sourceLocation)

        #expect(try await history().allSatisfy { $0.outcome != "open" }, comment, sourceLocation: sourceLocation)
        #expect(try orphans() == [], comment, sourceLocation: sourceLocation)
        return status
    }

    /// What nobody will ever need again: temporary files, and revisions without a manifest.
    func orphans() throws -> [String] {
        let files = FileManager.default
        var found: [String] = []
        for place in [state, directory.path("certs")] {
            let all = files.enumerator(atPath: place)?.allObjects.compactMap { $0 as? String } ?? []
            found += all.filter { $0.contains(".tmp") }
        }
        let live = state + "/live/messenger"
        for entry in try files.contentsOfDirectory(atPath: live) where entry != "current" {
            if Int(entry) == nil || !files.fileExists(atPath: "\(live)/\(entry)/revision.json") {
                found.append("live/messenger/\(entry)")
            }
        }
        return found
    }

    /// Puts a copy of the live bundle beside it, as a forgotten `.bak`, and restarts HAProxy with both. After a hot swap
    /// HAProxy 2.6 then serves the copy, whatever it answered.
    func addForgottenCopy() async throws {
        try FileManager.default.copyItem(atPath: bundle, toPath: directory.path("certs/server.pem.bak"))
        try balancer.write(crt: [
            directory.path("certs/default.pem"), bundle, directory.path("certs/server.pem.bak"),
        ])
        try await balancer.restart()
    }

    func removeForgottenCopy() async throws {
        try FileManager.default.removeItem(atPath: directory.path("certs/server.pem.bak"))
        try balancer.write(crt: [directory.path("certs/default.pem"), bundle])
        try await balancer.restart()
    }
}
