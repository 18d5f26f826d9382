import CertsEngine
import Foundation
import Mustache

/// The page at `/`: what this is, and where to go.
struct LandingPage: Sendable {
    private static let source = """
        <!doctype html>
        <html lang="en">
        <head><meta charset="utf-8"><title>certs</title></head>
        <body>
        <h1>certs {{version}}</h1>
        <p>Certificate lifecycle manager for HAProxy. {{state}}</p>
        <ul>
        {{#links}}
        <li><a href="{{path}}">{{path}}</a>: {{what}}</li>
        {{/links}}
        </ul>
        </body>
        </html>

        """
    private static let links = [
        Link(path: "/metrics", what: "metrics for Prometheus"),
        Link(path: "/healthz", what: "alive, and the planner moves"),
        Link(path: "/readyz", what: "recovery is done and the planner has run"),
    ]

    private struct Link: Sendable {
        var path: String
        var what: String
    }

    private struct Content {
        var version: String
        var state: String
        var links: [Link]
    }

    private let template: MustacheTemplate
    private let version: String

    init(version: String) throws {
        template = try MustacheTemplate(string: Self.source)
        self.version = version
    }

    func render(_ snapshot: PublishedSnapshot.Value) -> String {
        let state =
            switch snapshot.readiness {
            case .ready: "Ready; the metrics are from \(snapshot.renderedAt.formatted(.iso8601))."
            case .notReady(let reason): "Not ready: \(reason)."
            }
        return template.render(Content(version: version, state: state, links: Self.links))
    }
}
