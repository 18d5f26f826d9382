package import Foundation

/// How long something took, counted as a histogram does: of each bound how many were not longer.
package struct DurationTally: Sendable, Hashable {
    /// Ascending, in seconds.
    package var bounds: [TimeInterval]
    /// One for each bound.
    package var counts: [Int]
    package var count: Int
    /// Of all, in seconds.
    package var sum: TimeInterval

    package init(bounds: [TimeInterval], counts: [Int]? = nil, count: Int = 0, sum: TimeInterval = 0) {
        self.bounds = bounds
        self.counts = counts ?? bounds.map { _ in 0 }
        self.count = count
        self.sum = sum
    }

    package mutating func add(_ seconds: TimeInterval) {
        for index in bounds.indices where seconds <= bounds[index] { counts[index] += 1 }
        count += 1
        sum += seconds
    }

    /// The samples of a histogram; `labels` come first.
    package func samples(_ labels: [(name: String, value: String)] = []) -> [MetricFamily.Sample] {
        func sample(_ value: Double, _ suffix: String, le: String? = nil) -> MetricFamily.Sample {
            var sample = MetricFamily.Sample(value, suffix: suffix)
            sample.labels = labels + (le.map { [(name: "le", value: $0)] } ?? [])
            return sample
        }
        // A bound is written as a floating-point number in both formats: OpenMetrics takes no `1`.
        return zip(bounds, counts).map { sample(Double($1), "_bucket", le: "\($0)") } + [
            sample(Double(count), "_bucket", le: "+Inf"), sample(sum, "_sum"), sample(Double(count), "_count"),
        ]
    }
}
