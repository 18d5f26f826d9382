package import CertsCore
import CertsHTTP
package import Foundation

/// How long the service was up, as Prometheus has seen it.
package struct UptimeQuery: Sendable {
    private let prometheus: PrometheusDeclaration

    package init(_ prometheus: PrometheusDeclaration) { self.prometheus = prometheus }

    /// The query over `span`, to be asked at its end.
    package func text(_ span: DateInterval) -> String {
        "avg(avg_over_time(\(prometheus.selector)[\(max(1, Int(span.duration)))s]))"
    }

    /// - Returns: percent, and where it comes from; `nil`: there are no samples, or there was no answer, and the source
    ///   says which.
    package func ask(_ span: DateInterval) async -> (value: Double?, source: String) {
        let query = text(span)
        let source = "Prometheus at \(UTC.text(span.end)): `\(query)`"
        do {
            let value = try await value(query, at: span.end)
            return (value.map { $0 * 100 }, value == nil ? "\(source): no samples" : source)
        } catch {
            return (nil, "\(source): \(CertsError.wrapping(error).description.plainMarkdown)")
        }
    }

    private struct Answer: Decodable {
        struct Body: Decodable { let result: [Series] }
        struct Series: Decodable { let value: [Value] }
        /// The time is a number, the value a text.
        enum Value: Decodable {
            case number(Double)
            case text(String)

            init(from decoder: any Decoder) throws {
                let container = try decoder.singleValueContainer()
                if let number = try? container.decode(Double.self) {
                    self = .number(number)
                } else {
                    self = .text(try container.decode(String.self))
                }
            }
        }
        let data: Body
    }

    private func value(_ query: String, at date: Date) async throws -> Double? {
        var plain = CharacterSet.alphanumerics
        plain.insert(charactersIn: "-._~")
        let encoded = query.addingPercentEncoding(withAllowedCharacters: plain) ?? ""
        let url = "\(prometheus.url)/api/v1/query?query=\(encoded)&time=\(Int(date.timeIntervalSince1970))"
        let response = try await HTTPClient(caFile: prometheus.caFile).send(
            HTTPRequest(.get, url, limits: .init(deadline: .seconds(30))))
        guard response.isSuccess else {
            throw CertsError(.http, "it answered \(response.status)", hint: "check `selector` and `url`")
        }
        let answer = try JSONDecoder().decode(Answer.self, from: response.body)
        guard case .text(let text)? = answer.data.result.first?.value.last, let value = Double(text), value.isFinite,
            (0...1).contains(value)
        else { return nil }
        return value
    }
}
