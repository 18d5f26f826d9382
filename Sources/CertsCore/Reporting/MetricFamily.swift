/// One metric family of the exposition.
package struct MetricFamily: Sendable {
    package enum Kind: String, Sendable {
        case gauge, counter, histogram
        /// Always 1, with facts as labels; the text format has no such kind and calls it a gauge.
        case info
    }

    package var name: String
    package var help: String
    package var kind: Kind
    package var samples: [Sample]

    package init(_ name: String, _ kind: Kind, help: String, samples: [Sample] = []) {
        self.name = name
        self.kind = kind
        self.help = help
        self.samples = samples
    }

    package struct Sample: Sendable {
        package var labels: [(name: String, value: String)]
        package var value: Double
        /// What follows the name of the family: `_bucket`, `_sum`, `_count` of a histogram.
        package var suffix = ""

        package init(_ value: Double, _ labels: KeyValuePairs<String, String> = [:], suffix: String = "") {
            self.value = value
            self.labels = labels.map { ($0.key, $0.value) }
            self.suffix = suffix
        }
    }

    /// The name in OpenMetrics, where a counter's `_total` and an info's `_info` belong to the samples alone.
    package var openMetricsName: String {
        for (kind, suffix) in [(Kind.counter, "_total"), (.info, "_info")] where self.kind == kind {
            if name.hasSuffix(suffix) { return String(name.dropLast(suffix.count)) }
        }
        return name
    }

    /// The unit that OpenMetrics declares: the last word of the name, where that is one.
    package var unit: String? {
        guard kind != .info else { return nil }
        return ["seconds", "bytes", "days"].first { openMetricsName.hasSuffix("_\($0)") }
    }
}
