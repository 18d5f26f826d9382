/// Runs `body` to its end even when the surrounding task is cancelled.
///
/// For clean-up only (a rollback, an abort of a transaction that we opened): cancellation must not be able to skip it.
package func withUncancelledTask<Value: Sendable>(
    _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    try await Task.detached { try await body() }.value
}
