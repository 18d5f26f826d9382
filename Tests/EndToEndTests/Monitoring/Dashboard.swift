import Foundation

/// The queries of the shipped dashboard, with Grafana's variables filled in as for "All".
struct Dashboard: Decodable {
    struct Query {
        /// The title of the panel, or the name of the annotation or the variable.
        let place: String
        let expression: String
    }

    private struct Panel: Decodable {
        struct Target: Decodable { let expr: String }
        let title: String
        let targets: [Target]?
    }

    private struct Annotation: Decodable {
        let name: String
        let expr: String
    }

    private struct Variable: Decodable {
        let name: String
        let type: String
        let definition: String?
    }

    private struct Annotations: Decodable { let list: [Annotation] }
    private struct Templating: Decodable { let list: [Variable] }

    private let panels: [Panel]
    private let annotations: Annotations
    private let templating: Templating

    init(path: String) throws {
        self = try JSONDecoder().decode(Self.self, from: Data(contentsOf: URL(filePath: path)))
    }

    var ofPanels: [Query] {
        panels.flatMap { panel in (panel.targets ?? []).map { Query(place: panel.title, expression: filled($0.expr)) } }
    }

    var ofAnnotations: [Query] {
        annotations.list.map { Query(place: $0.name, expression: filled($0.expr)) }
    }

    /// The selector and the label of `label_values(SELECTOR, LABEL)`.
    var ofVariables: [(query: Query, label: String)] {
        templating.list.filter { $0.type == "query" }.compactMap { variable in
            guard let match = variable.definition?.wholeMatch(of: /label_values\((.+), (\w+)\)/) else { return nil }
            return (Query(place: variable.name, expression: filled(String(match.1))), String(match.2))
        }
    }

    /// How many variables ask Prometheus.
    var variableCount: Int { templating.list.count { $0.type == "query" } }

    private func filled(_ expression: String) -> String {
        expression.replacingOccurrences(of: "$instance", with: ".*").replacingOccurrences(of: "$cert", with: ".*")
            .replacingOccurrences(of: "$__rate_interval", with: "4m")
    }
}
