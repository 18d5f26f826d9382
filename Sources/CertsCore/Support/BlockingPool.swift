import Foundation

/// Runs blocking work (OpenSSL handshakes, key generation, `fsync`) away from the cooperative pool.
///
/// The cooperative pool has one thread per core: two blocked C calls would freeze a small host. The pool here has a
/// bounded number of threads of its own; work beyond that waits in the queue.
package final class BlockingPool: Sendable {
    private let queue: OperationQueue

    /// - Parameter width: how many blocking calls may run at the same time.
    package init(name: String, width: Int = max(2, ProcessInfo.processInfo.activeProcessorCount)) {
        queue = OperationQueue()
        queue.name = name
        queue.maxConcurrentOperationCount = width
    }

    /// Runs `body` on a thread of the pool. Not cancellable: `body` must have a deadline of its own.
    package func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            queue.addOperation { continuation.resume(with: Result(catching: body)) }
        }
    }

    /// The pool for work that is bounded by the processor: one thread per core.
    package static let shared = BlockingPool(name: "certs.blocking", width: max(2, ProcessInfo.processInfo.activeProcessorCount))
    /// The pool for work that waits on the network, with a deadline in each piece of work.
    package static let network = BlockingPool(name: "certs.network", width: 32)
}
