/// How many rows one batch takes: as many as the server deletes in 200 to 500 ms.
///
/// Short transactions leave the parallel load alone; longer ones are cheaper by the row. Times are in seconds.
struct BatchSize: Sendable {
    private(set) var rows: Int
    private let bounds: ClosedRange<Int>

    static let aim = 0.35
    private static let band = 0.2...0.5
    /// What a statement costs whatever it deletes must not make the batches ever smaller.
    private static let leastBySpeed = 100

    init(start: Int = 1000, bounds: ClosedRange<Int> = 1...50_000) {
        self.bounds = bounds
        rows = min(max(start, bounds.lowerBound), bounds.upperBound)
    }

    /// After a batch that took `seconds`: by at most the double up, and down as far as it needs.
    mutating func adapt(deleted: Int, seconds: Double) {
        guard deleted > 0, !Self.band.contains(seconds) else { return }
        // A batch that was not full says little about a larger one.
        guard seconds > Self.aim || deleted == rows else { return }
        let factor = min(2, Self.aim / max(seconds, 0.001))
        set(max(Self.leastBySpeed, Int(Double(deleted) * factor)))
    }

    /// After a batch that did not come to its end.
    mutating func shrink() { set(rows / 4) }

    private mutating func set(_ count: Int) { rows = min(max(count, bounds.lowerBound), bounds.upperBound) }
}
