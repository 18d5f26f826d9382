import Foundation
import Synchronization

/// Runs blocking work (OpenSSL handshakes, key generation, `fsync`) away from the cooperative pool.
///
/// The cooperative pool has one thread per core: two blocked C calls would freeze a small host. The pool here has a
/// bounded number of threads of its own; work beyond that waits in the queue.
///
/// Not an `OperationQueue`: on Linux its threads and those of the cooperative pool come from one pool of Dispatch, so
/// that blocked operations keep tasks from running.
package final class BlockingPool: Sendable {
    private struct State {
        /// First in, first out; `head` is the next, so that taking one costs the same however many wait.
        var waiting: [@Sendable () -> Void] = []
        var head = 0
        var threads = 0
        /// Threads that wait for work and are not promised to any yet.
        var idle = 0
    }

    private let name: String
    private let width: Int
    private let state = Mutex(State())
    /// Counts the work that an idle thread was woken for.
    private let wakeUps = DispatchSemaphore(value: 0)

    /// - Parameter width: how many blocking calls may run at the same time. Threads are made when they are first needed
    ///   and stay: a pool is meant to live as long as the process.
    package init(name: String, width: Int = max(2, ProcessInfo.processInfo.activeProcessorCount)) {
        self.name = name
        self.width = max(1, width)
    }

    /// Runs `body` on a thread of the pool. Not cancellable: `body` must have a deadline of its own.
    package func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            enqueue { continuation.resume(with: Result(catching: body)) }
        }
    }

    /// Which thread will take what was added.
    private enum Taker { case idle, busy, new }

    private func enqueue(_ work: @escaping @Sendable () -> Void) {
        let taker: Taker = state.withLock { state in
            state.waiting.append(work)
            if state.idle > 0 {
                state.idle -= 1
                return .idle
            }
            guard state.threads < width else { return .busy }
            state.threads += 1
            return .new
        }
        // Outside of the lock: what wakes up takes it at once, and would spin for as long as the signal takes.
        if taker == .idle { wakeUps.signal() }
        guard taker == .new else { return }
        let thread = Thread { [self] in
            while true {
                if let work = next() { work() } else { wakeUps.wait() }
            }
        }
        thread.name = name
        thread.start()
    }

    /// The work that has waited longest; `nil` after the thread was counted as idle.
    private func next() -> (@Sendable () -> Void)? {
        state.withLock { state in
            guard state.head < state.waiting.count else {
                state.waiting.removeAll(keepingCapacity: true)
                state.head = 0
                state.idle += 1
                return nil
            }
            let work = state.waiting[state.head]
            state.waiting[state.head] = {}
            state.head += 1
            if state.head > 1024, state.head * 2 > state.waiting.count {
                state.waiting.removeFirst(state.head)
                state.head = 0
            }
            return work
        }
    }

    /// The pool for work that is bounded by the processor: one thread per core.
    package static let shared = BlockingPool(
        name: "certs.blocking", width: max(2, ProcessInfo.processInfo.activeProcessorCount))
    /// The pool for work that waits on the network, with a deadline in each piece of work.
    package static let network = BlockingPool(name: "certs.network", width: 32)
}
