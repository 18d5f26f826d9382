import Foundation

/// When to look again: at once at first, then in growing steps, and not before the server's own time.
struct Polling: Sendable {
    private var step = Duration.milliseconds(10)
    private let end: ContinuousClock.Instant
    private static let longestStep = Duration.seconds(5)

    init(deadline: Duration) {
        end = .now + deadline
    }

    /// Waits until it is time to look again.
    ///
    /// - Parameter serverTime: from `Retry-After`.
    /// - Returns: `false` when the deadline would pass meanwhile.
    mutating func wait(atLeastUntil serverTime: Date?) async throws -> Bool {
        var pause = step
        if let serverTime { pause = max(pause, .seconds(serverTime.timeIntervalSinceNow)) }
        step = min(step * 3 / 2, Self.longestStep)
        guard .now + pause < end else { return false }
        try await Task.sleep(for: pause)
        return true
    }
}
