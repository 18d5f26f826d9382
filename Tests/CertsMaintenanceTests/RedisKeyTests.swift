import CertsCore
import CertsMaintenance
import CertsStore
import CertsTesting
import Foundation
import Testing

@Suite(.timeLimit(.minutes(5))) struct RedisKeyTests {
    /// A cleaner that deletes whatever has no expiry breaks a limiter, whose modes have none on purpose.
    @Test func keysThatNeverExpireAreCountedAndGetAnExpiryWhereThatIsDeclared() async throws {
        let shop = try await Workshop.make("")
        let redis = try await BlockingPool.network.run { () -> RealRedis in
            let redis = try RealRedis()
            for number in 1...1200 { try redis.cli("SET", "ratelimit:\(number)", "1", "EX", "600") }
            for key in ["ratelimit:stuck:a", "ratelimit:stuck:b", "ratelimit:global:mode", "session:1"] {
                try redis.cli("SET", key, "1")
            }
            return redis
        }
        func ttl(_ key: String) async throws -> Int {
            Int(try await BlockingPool.network.run { try redis.cli("TTL", key) }) ?? 0
        }
        var check = RedisKeyCheck(pattern: "ratelimit:*", except: ["ratelimit:*:mode"])
        let counted = try await shop.runner(redis: redis.declaration).run(
            try Workshop.job(.checkRedisKeys(check)), occurrence: nil, source: .command)
        #expect(counted.result == .succeeded && counted.rows == 0)
        #expect(try await shop.database.jobMeasures().values.flatMap { $0 }.map(\.value) == [2])
        #expect(try await ttl("ratelimit:stuck:a") == -1)

        check.expiry = 3600
        let job = try Workshop.job(.checkRedisKeys(check))
        let runner = shop.runner(redis: redis.declaration)
        let plan = try await runner.executor.plan(job, sample: 10, control: Messenger.control())
        #expect(plan.map(\.keys) == [["ratelimit:stuck:a", "ratelimit:stuck:b"]])
        let run = try await runner.run(job, occurrence: nil, source: .command)
        #expect(run.result == .succeeded && run.rows == 2)
        #expect(try await (3500...3600).contains(ttl("ratelimit:stuck:b")))
        #expect(try await (1...600).contains(ttl("ratelimit:7")))
        #expect(try await ttl("ratelimit:global:mode") == -1)
        #expect(try await ttl("session:1") == -1)
    }
}
