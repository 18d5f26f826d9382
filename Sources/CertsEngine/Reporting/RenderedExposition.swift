package import CertsCore
package import CertsGzip

/// The exposition as it is served: each family compressed by itself, so that a scrape only puts parts together.
///
/// The samples are the same in both formats; the lines above them are kept in both.
package struct RenderedExposition: Sendable {
    package struct Family: Sendable {
        package let name: String
        let heads: [PrometheusText.Format: DeflatedPiece]
        let body: DeflatedPiece
        /// Whether it is left out where no family is named.
        let isOnRequest: Bool

        init(_ family: MetricFamily, body: DeflatedPiece, isOnRequest: Bool = false) throws {
            name = family.name
            self.isOnRequest = isOnRequest
            heads = try Dictionary(
                uniqueKeysWithValues: PrometheusText.Format.allCases.map {
                    ($0, try DeflatedPiece(PrometheusText.head(of: family, as: $0)))
                })
            self.body = body
        }
    }

    package let families: [Family]
    private let end: DeflatedPiece

    package init(_ families: [Family] = []) throws {
        self.families = families
        end = try DeflatedPiece(PrometheusText.end)
    }

    /// Of families whose samples are at hand.
    package init(rendering families: [MetricFamily]) throws {
        try self.init(
            families.map { family in
                var text: [UInt8] = []
                PrometheusText.appendSamples(of: family, to: &text)
                return try Family(family, body: DeflatedPiece(String(decoding: text, as: UTF8.self)))
            })
    }

    /// Before anything was rendered.
    package static let empty = RenderedExposition()

    private init() {
        families = []
        end = .empty
    }

    /// The whole in the text format, in UTF-8; for what needs it in one piece.
    package func text() throws -> [UInt8] {
        try GzipMember(families.filter { !$0.isOnRequest }.flatMap { [$0.heads[.text] ?? .empty, $0.body] }).text()
    }

    /// Without the families whose names begin with `prefix`.
    package func without(prefix: String) throws -> RenderedExposition {
        try RenderedExposition(families.filter { !$0.name.hasPrefix(prefix) })
    }

    /// The parts of the families that `filters` name, in one format.
    ///
    /// - Parameter filters: names of families, or beginnings of names that end in `*`; empty: all but those that
    ///   come only when they are asked for.
    /// - Returns: `nil` when a filter names nothing: a name that is misspelt must not look like a healthy silence.
    package func member(_ filters: [String] = [], as format: PrometheusText.Format = .text) -> GzipMember? {
        func isNamed(_ name: String, by filter: String) -> Bool {
            filter.hasSuffix("*") ? name.hasPrefix(filter.dropLast()) : name == filter
        }
        // Before the first rendering nothing is known, and nothing misspelt.
        guard families.isEmpty || filters.allSatisfy({ one in families.contains { isNamed($0.name, by: one) } }) else {
            return nil
        }
        let chosen = families.filter { family in
            filters.isEmpty ? !family.isOnRequest : filters.contains { isNamed(family.name, by: $0) }
        }
        var pieces = chosen.flatMap { [$0.heads[format] ?? .empty, $0.body] }
        if format == .openMetrics { pieces.append(end) }
        return GzipMember(pieces)
    }
}
