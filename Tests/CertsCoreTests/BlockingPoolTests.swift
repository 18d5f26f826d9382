import CertsCore
import Foundation
import Testing

@Suite("The pool for blocking work")
struct BlockingPoolTests {
    @Test("blocked work does not keep tasks from running")
    func isolates() async throws {
        let pool = BlockingPool(name: "test", width: 16)
        let gate = DispatchSemaphore(value: 0)
        // As many as can block at once, all held at the gate; only a task opens it.
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for _ in 0..<16 {
                group.addTask { try await pool.run { gate.wait(timeout: .now() + 60) == .success } }
            }
            group.addTask {
                for _ in 0..<1000 { await Task.yield() }
                for _ in 0..<16 { gate.signal() }
                return true
            }
            // Were the task kept from running, the gate would stay shut until the time is up.
            for try await isOpened in group { #expect(isOpened) }
        }
    }

    @Test("no more than its width runs at the same time, and everything runs")
    func isBounded() async throws {
        let pool = BlockingPool(name: "test", width: 3)
        let running = Counter()
        let results = try await withThrowingTaskGroup(of: Int.self) { group in
            for index in 0..<50 {
                group.addTask {
                    try await pool.run {
                        running.enter()
                        defer { running.leave() }
                        usleep(1000)
                        return index
                    }
                }
            }
            return try await group.reduce(into: Set<Int>()) { $0.insert($1) }
        }
        #expect(results.count == 50)
        #expect(running.most <= 3)
    }

    @Test("an error comes back as it was thrown")
    func throwsTheSame() async {
        await #expect(throws: CertsError(.backoff, "")) {
            try await BlockingPool.shared.run { throw CertsError(.backoff, "later") }
        }
    }

    private final class Counter: @unchecked Sendable {
        // @unchecked: all access is under the lock.
        private let lock = NSLock()
        private var now = 0
        private(set) var most = 0

        func enter() {
            lock.withLock {
                now += 1
                most = max(most, now)
            }
        }

        func leave() { lock.withLock { now -= 1 } }
    }
}
