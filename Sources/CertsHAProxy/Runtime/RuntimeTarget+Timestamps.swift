import CertsCore
import Foundation

// Signed certificate timestamps (`.sctl`, RFC 6962 §3.3) and the hot swap do not go together: HAProxy cannot be sent any,
// because it reads that payload as text and they begin with a NUL; and HAProxy 2.6.12 ends with a segmentation fault at
// the commit for a certificate that it has loaded with such a file.
extension RuntimeTarget {
    /// - Throws: `target.notReferenced`: HAProxy may have loaded the file that lies there.
    static func timestamps(_ planned: BundleFiles.Planned, _ live: LiveBundle?) throws(CertsError) -> [Finding] {
        guard live == nil else { throw wouldCrash(planned.path) }
        guard planned.contents != nil else { return [] }
        return [
            Finding(
                id: "sct-after-reload", severity: .warning,
                message: "the SCTs in \(planned.path) are served only after HAProxy's next reload",
                remedy: "reload HAProxy after the rotation; a `fallback` does it from the next one on")
        ]
    }

    /// - Throws: `target.notReferenced` where HAProxy was started after a file with timestamps had been written.
    func refuseTimestamps(beside file: FileReceipt, since takenAt: Date) async throws {
        let path = "\(file.path).sctl"
        guard try await files.read(path, limit: BundleFiles.sizeLimit) != nil else { return }
        let process = try RuntimeReply.process(try await session.connection.send(.showProcessExactly))
        guard let startedAt = process.startedAt, startedAt < takenAt else { throw Self.wouldCrash(path) }
    }

    static func wouldCrash(_ path: String) -> CertsError {
        CertsError(
            .targetNotReferenced,
            "HAProxy cannot replace a certificate with SCTs while it runs: it would crash (\(path))",
            subject: path, hint: "name a `fallback` that reloads, or take the file away and reload HAProxy")
    }
}
