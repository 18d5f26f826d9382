import CertsCore
import NIOCore
import NIOPosix

/// Runs a task on the thread of an event loop, so that a conversation of several commands does not change threads twice
/// for each of them: on a busy machine that takes longer than HAProxy's answer.
///
/// Only for work that neither blocks nor computes: what runs there holds up every connection of the same loop.
final class LoopExecutor: TaskExecutor {
    private let loop: any EventLoop

    private static let all = MultiThreadedEventLoopGroup.singleton.makeIterator().map { LoopExecutor($0) }

    private init(_ loop: any EventLoop) { self.loop = loop }

    /// Runs `body` on one of the event loops; ``RuntimeConnection`` then opens its sockets on the same one.
    static func run<Value: Sendable>(
        _ body: () async throws(CertsError) -> Value
    ) async throws(CertsError) -> Value {
        try await withTaskExecutorPreference(all.randomElement(), operation: body)
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        loop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
