import CertsCore
import CertsDocker
import Foundation

/// Since when volumes are in no container's hands. The engine does not tell; each run of the clean-up writes down
/// what it sees. What was used at one of the looks begins anew, and so does everything after a time without a look.
struct DetachedVolumes: Codable, Equatable {
    var since: [String: Date] = [:]
    var lookedAt: Date?

    /// A longer time without a look says nothing of what was used in it, in seconds.
    private static let longestGap: TimeInterval = 2 * 86400
    private static let limit = 4 << 20

    private static func file(_ job: Name) -> String { "\(job).json" }

    static func load(_ job: Name, _ files: any MaintenanceFiles) async throws -> DetachedVolumes {
        guard let text = try await files.read(file(job), in: .volumes, limit: limit) else { return .init() }
        do {
            return try StoredJSON.decode(Self.self, from: text.withBytes { Data($0) })
        } catch {
            throw CertsError(
                .stateCorrupt, "the record of detached volumes of the job \(job) cannot be read", subject: job.rawValue,
                hint: "remove maintenance/volumes/\(file(job)) in the state directory; the times then begin anew",
                cause: error)
        }
    }

    /// What is known after another look at `now`.
    func seen(_ volumes: [DiskUsage.Volume], now: Date) -> DetachedVolumes {
        var result = DetachedVolumes(lookedAt: now)
        let isKnown = lookedAt.map { $0 <= now && now.timeIntervalSince($0) <= Self.longestGap } ?? false
        for volume in volumes {
            var first = (isKnown ? since[volume.name] : nil) ?? now
            // Another volume of the same name, or a clock that was set back.
            if first > now || (EngineTime.date(volume.createdAt) ?? .distantPast) > first { first = now }
            result.since[volume.name] = first
        }
        return result
    }

    func save(_ job: Name, _ files: any MaintenanceFiles) async throws {
        try await files.write(Secret(copying: try StoredJSON.encode(self)), to: Self.file(job), in: .volumes)
    }
}
