import CertsCore
import CertsGzip

/// The samples of all streamed families, each compressed as it grows.
struct SampleWriter {
    /// So much text of a family is gathered before it is compressed.
    private static let chunk = 1 << 15

    private var bodies = StreamedFamily.allCases.map { Body(name: Array($0.head.name.utf8)) }

    private struct Body {
        let name: [UInt8]
        var waiting: [UInt8] = []
        let writer = PieceWriter()

        mutating func flush() throws {
            try waiting.withUnsafeBytes { try writer.append($0) }
            waiting.removeAll(keepingCapacity: true)
        }
    }

    /// - Parameter labels: with the opening brace, without the closing one.
    mutating func add(_ family: StreamedFamily, _ labels: [UInt8], _ value: Double?) throws {
        guard let value else { return }
        let index = family.rawValue
        bodies[index].waiting += bodies[index].name
        bodies[index].waiting += labels
        bodies[index].waiting.append(UInt8(ascii: "}"))
        PrometheusText.append(value: value, to: &bodies[index].waiting)
        if bodies[index].waiting.count >= Self.chunk { try bodies[index].flush() }
    }

    /// Ends all families; the writer is used up.
    mutating func finish() throws -> [RenderedExposition.Family] {
        try StreamedFamily.allCases.map { family in
            try bodies[family.rawValue].flush()
            return try RenderedExposition.Family(
                family.head, body: try bodies[family.rawValue].writer.finish(), isOnRequest: family.isOnRequest)
        }
    }

    /// `{instance="…",cert="…"`, the beginning of the labels of a pair.
    static func labels(instance: String, certificate: String) -> [UInt8] {
        var text: [UInt8] = [UInt8(ascii: "{")]
        PrometheusText.append(label: "instance", instance, to: &text)
        text.append(UInt8(ascii: ","))
        PrometheusText.append(label: "cert", certificate, to: &text)
        return text
    }

    static func labels(certificate: String) -> [UInt8] {
        var text: [UInt8] = [UInt8(ascii: "{")]
        PrometheusText.append(label: "cert", certificate, to: &text)
        return text
    }
}
