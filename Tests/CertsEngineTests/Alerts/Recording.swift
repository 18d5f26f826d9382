import Foundation

/// What Prometheus sees of one scene: its expositions, each of which stands until the next, as input series of
/// `promtool test rules`. Minute 0 is the beginning, and the Unix epoch of promtool.
struct Recording {
    /// Becomes a label of each series, so that many scenes fit into one run.
    let scene: String
    private var moments: [(minute: Int, samples: [String: Double])] = []

    init(_ scene: String) { self.scene = scene }

    /// The exposition as it is from `minute` on.
    ///
    /// - Parameter start: the time of minute 0; timestamps are moved by it.
    mutating func add(exposition: String, at minute: Int, start: Date) {
        var samples: [String: Double] = [:]
        for line in exposition.split(separator: "\n") where !Self.isIgnored(line) {
            guard let gap = line.lastIndex(of: " "), let value = Double(line[line.index(after: gap)...]) else {
                continue
            }
            let series = line[..<gap]
            let isTime = series.prefix { $0 != "{" }.hasSuffix("_timestamp_seconds")
            samples[String(series)] = isTime ? value - start.timeIntervalSince1970 : value
        }
        add(samples, at: minute)
    }

    /// Samples by their series, as they are from `minute` on; the target answers.
    mutating func add(_ samples: [String: Double], at minute: Int) {
        moments.append((minute, samples.merging(["up{job=\"certs\"}": 1]) { own, _ in own }))
    }

    /// Some values change, or go (`nan`); the others stay.
    mutating func change(_ samples: [String: Double], at minute: Int) {
        var next = moments.last?.samples ?? [:]
        for (series, value) in samples { next[series] = value.isNaN ? nil : value }
        moments.append((minute, next))
    }

    /// The target does not answer any more.
    mutating func addSilence(at minute: Int) { moments.append((minute, ["up{job=\"certs\"}": 0])) }

    /// The value of a series in the last exposition.
    func latest(_ series: String) -> Double? { moments.last?.samples[series] }

    /// Of the process itself, and facts that no rule reads: thousands of values that only cost time.
    private static func isIgnored(_ line: Substring) -> Bool {
        ["#", "process_", "ssl_cert_info", "certs_build_info", "certs_scrape_"].contains { line.hasPrefix($0) }
    }

    // MARK: As text

    /// The series for the minutes from 0 to `end`, a value each `step` minutes.
    func text(until end: Int, step: Int) -> String {
        let names = Set(moments.flatMap(\.samples.keys)).sorted()
        return names.map { name in
            "      - series: '\(labelled(name))'\n        values: '\(values(of: name, until: end, step: step))'\n"
        }.joined()
    }

    private func labelled(_ series: String) -> String {
        let label = "scene=\"\(scene)\""
        return series.hasSuffix("}") ? "\(series.dropLast()),\(label)}" : "\(series){\(label)}"
    }

    /// In the notation of promtool: `vxN` are N + 1 times v, `v-dxN` falls by d each time, `_xN` are N missing samples.
    private func values(of series: String, until end: Int, step: Int) -> String {
        let falls = series.hasPrefix("ssl_cert_expiry_days")
        var parts = [String](), wasThere = false
        func missing(_ count: Int) {
            guard count > 0 else { return }
            // What is gone from an exposition is gone for Prometheus at once.
            parts.append(wasThere ? "stale" : "_")
            if count > 1 { parts.append("_x\(count - 1)") }
            wasThere = false
        }
        missing(index(moments.first?.minute ?? end + 1, step))
        for (position, moment) in moments.enumerated() {
            let next = position + 1 < moments.count ? moments[position + 1].minute : end + 1
            let (first, count) = (index(moment.minute, step), index(next, step) - index(moment.minute, step))
            guard count > 0 else { continue }
            guard let value = moment.samples[series] else {
                missing(count)
                continue
            }
            // Between two renderings nothing but the days left changes, and that by the clock.
            let begin = falls ? value - Double(first * step - moment.minute) / 1440 : value
            parts.append(falls ? "\(begin)-\(Double(step) / 1440)x\(count - 1)" : "\(begin)x\(count - 1)")
            wasThere = true
        }
        return parts.joined(separator: " ")
    }

    /// The first sample that is not before `minute`.
    private func index(_ minute: Int, _ step: Int) -> Int { (minute + step - 1) / step }
}
