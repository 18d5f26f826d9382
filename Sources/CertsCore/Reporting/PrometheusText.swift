import Foundation

/// The exposition formats that Prometheus reads: text 0.0.4 and OpenMetrics 1.0.
///
/// Both have the same lines of samples here; only what stands above them differs.
package enum PrometheusText {
    package enum Format: Sendable, Hashable, CaseIterable {
        case text, openMetrics

        package var contentType: String {
            switch self {
            case .text: "text/plain; version=0.0.4; charset=utf-8"
            case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
            }
        }
    }

    package static let contentType = Format.text.contentType
    /// The last line of OpenMetrics.
    package static let end = "# EOF\n"
    /// The longest value of a label, in bytes before escaping.
    package static let longestValue = 256

    /// Renders the families in the order given; a family without samples still has its HELP and TYPE lines.
    package static func render(_ families: [MetricFamily], as format: Format = .text) -> String {
        var text: [UInt8] = []
        for family in families {
            text += head(of: family, as: format).utf8
            appendSamples(of: family, to: &text)
        }
        if format == .openMetrics { text += end.utf8 }
        return String(decoding: text, as: UTF8.self)
    }

    /// The lines above the samples.
    package static func head(of family: MetricFamily, as format: Format) -> String {
        switch format {
        case .text:
            let kind = family.kind == .info ? .gauge : family.kind
            return "# HELP \(family.name) \(escapedHelp(family.help))\n# TYPE \(family.name) \(kind.rawValue)\n"
        case .openMetrics:
            let name = family.openMetricsName
            let unit = family.unit.map { "# UNIT \(name) \($0)\n" } ?? ""
            let help = escapedHelp(family.help).replacingOccurrences(of: "\"", with: "\\\"")
            return "# TYPE \(name) \(family.kind.rawValue)\n\(unit)# HELP \(name) \(help)\n"
        }
    }

    package static func appendSamples(of family: MetricFamily, to text: inout [UInt8]) {
        for sample in family.samples {
            text += family.name.utf8
            text += sample.suffix.utf8
            if !sample.labels.isEmpty {
                for (index, label) in sample.labels.enumerated() {
                    text.append(UInt8(ascii: index == 0 ? "{" : ","))
                    append(label: label.name, label.value, to: &text)
                }
                text.append(UInt8(ascii: "}"))
            }
            append(value: sample.value, to: &text)
        }
    }

    /// `name="value"`.
    package static func append(label name: String, _ value: String, to text: inout [UInt8]) {
        text += name.utf8
        text.append(UInt8(ascii: "="))
        text.append(UInt8(ascii: "\""))
        var value = value
        let isPlain = value.withUTF8 { bytes in
            bytes.count <= longestValue
                && bytes.allSatisfy {
                    $0 >= 0x20 && $0 != 0x7f && $0 != UInt8(ascii: "\\") && $0 != UInt8(ascii: "\"")
                }
        }
        if isPlain { text += value.utf8 } else { text += escapedValue(value).utf8 }
        text.append(UInt8(ascii: "\""))
    }

    /// A blank, the number, and the end of the line.
    package static func append(value: Double, to text: inout [UInt8]) {
        text.append(UInt8(ascii: " "))
        text += number(value).utf8
        text.append(UInt8(ascii: "\n"))
    }

    /// Integers without a fraction: timestamps must not turn into `1.7e+09`.
    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        if value == value.rounded(), abs(value) < 1e15 { return String(Int64(value)) }
        return "\(value)"
    }

    private static func escapedHelp(_ text: String) -> String {
        text.replacingOccurrences(of: "\\", with: "\\\\").replacingOccurrences(of: "\r\n", with: "\n")
            .replacingOccurrences(of: "\n", with: "\\n")
    }

    /// Escapes as the format asks, caps, and shows other control characters as text: a subject with a NUL or a carriage
    /// return must not break the exposition.
    static func escapedValue(_ text: String) -> String {
        var result = ""
        for scalar in capped(text).unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\"": result += "\\\""
            case "\n": result += "\\n"
            default:
                if scalar.value < 0x20 || scalar.value == 0x7f {
                    result += "\\\\x\(Hex.encode([UInt8(scalar.value)]))"
                } else {
                    result.unicodeScalars.append(scalar)
                }
            }
        }
        return result
    }

    /// At most ``longestValue`` bytes. What is cut ends with a digest of the whole: two series whose long paths begin
    /// alike must not become one.
    private static func capped(_ text: String) -> String {
        guard text.utf8.count > longestValue else { return text }
        let digest = FNV1a.hash64(text.utf8)
        let tail = "…" + Hex.encode(withUnsafeBytes(of: digest.bigEndian) { Array($0) })
        var result = ""
        var count = tail.utf8.count
        for scalar in text.unicodeScalars {
            count += UTF8.width(scalar)
            guard count <= longestValue else { break }
            result.unicodeScalars.append(scalar)
        }
        return result + tail
    }
}
