import CertsCore
import Foundation

/// Finds keys that never expire among those that should, and gives them an expiry where that is declared; deletes none.
///
/// By SCAN, which does not hold the server up as KEYS does (Redis manual, SCAN).
struct RedisKeyWork: HostWork {
    let check: RedisKeyCheck
    let connect: @Sendable () throws -> RedisConnection

    /// Keys that are remembered at most; what is beyond is left for the next run.
    private static let limit = 100_000
    /// Keys that one SCAN looks at.
    private static let step = "500"

    func preview(_ job: Name, sample: Int, control: JobControl) async throws -> [WorkPreview] {
        try await JobExecutor.pool.run {
            let found = try keys(in: try connect(), control)
            var preview = WorkPreview(
                subject: check.pattern, count: check.expiry == nil ? 0 : found.count,
                keys: Array(found.sorted().prefix(sample)))
            if check.expiry == nil { preview.warnings = ["\(found.count) keys never expire; a run only counts them"] }
            return [preview]
        }
    }

    func run(_ job: Name, control: JobControl) async throws -> JobExecutor.Done {
        try await JobExecutor.pool.run {
            let redis = try connect()
            let found = try keys(in: redis, control)
            var done = JobExecutor.Done(backlog: found.count)
            do {
                for key in found.sorted() {
                    guard let expiry = check.expiry, !control.isOver else { break }
                    // NX: only where there is none, as the service may have set one since (Redis 7).
                    if try redis.run("EXPIRE", key, String(Int(expiry)), "NX") == .integer(1) { done.rows += 1 }
                }
            } catch {
                done.error = CertsError.wrapping(error, subject: job.rawValue)
            }
            let left = found.count - done.rows
            done.backlog = left
            done.measures = [JobMeasure(.redisKeysWithoutExpiry, ["pattern": check.pattern], Double(left))]
            if control.isOver { done.reason = control.ending }
            return done
        }
    }

    /// The keys without an expiry that are not excepted.
    private func keys(in redis: RedisConnection, _ control: JobControl) throws -> Set<String> {
        var found: Set<String> = []
        var cursor = "0"
        repeat {
            let reply = try redis.run("SCAN", cursor, "MATCH", check.pattern, "COUNT", Self.step)
            guard case .list(let parts) = reply, parts.count == 2, case .text(let next) = parts[0],
                case .list(let keys) = parts[1]
            else {
                throw CertsError(.redisFailed, "SCAN: an answer that is none", hint: "look which server this is")
            }
            for case .text(let key) in keys where !isExcepted(key) && found.count < Self.limit {
                if try redis.run("TTL", key) == .integer(-1) { found.insert(key) }
            }
            cursor = next
        } while cursor != "0" && !control.isOver
        return found
    }

    private func isExcepted(_ key: String) -> Bool { check.except.contains { fnmatch($0, key, 0) == 0 } }
}
