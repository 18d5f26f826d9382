/// Runs `body`, and when the surrounding task is cancelled, lets it come to its end for `patience`, then cancels it, and does
/// not wait longer than `grace` for that.
///
/// For work that is better finished than interrupted, or that takes its time to notice, such as a call that blocks until
/// its deadline. It may go on after the return.
/// - Throws: what `body` throws; `CancellationError`.
package func untilCancelled<Value: Sendable>(
    patience: Duration = .seconds(1), grace: Duration = .seconds(2),
    _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    let (outcomes, outcome) = AsyncStream.makeStream(of: Result<Value, any Error>.self)
    let work = Task {
        do { outcome.yield(.success(try await body())) } catch { outcome.yield(.failure(error)) }
        outcome.finish()
    }
    return try await withTaskCancellationHandler {
        // In a task of its own: the iteration of a stream ends with the task that is cancelled.
        let first = Task { await outcomes.first { _ in true } }
        guard let result = await first.value else { throw CancellationError() }
        return try result.get()
    } onCancel: {
        Task {
            try? await Task.sleep(for: patience)
            work.cancel()
            try? await Task.sleep(for: grace)
            outcome.finish()
        }
    }
}
