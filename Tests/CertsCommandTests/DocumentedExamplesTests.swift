import CertsCore
import Foundation
import Testing

@testable import certs

/// The configurations that the documents show are ones that the program takes.
@Suite("The examples in the documents")
struct DocumentedExamplesTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// The blocks marked as YAML that begin with one of the file's own keys.
    private static func examples(in document: String) throws -> [String] {
        let text = try String(contentsOf: root.appending(path: document), encoding: .utf8)
        return text.components(separatedBy: "```yaml\n").dropFirst().compactMap { rest in
            let block = rest.components(separatedBy: "\n```")[0]
            let keys = ["version:", "issuers:", "certificates:", "targets:", "notifications:", "maintenance:"]
            return keys.contains(where: block.hasPrefix) ? block : nil
        }
    }

    /// The example with what it leaves out.
    private static func whole(_ example: String) -> String {
        let (certificates, targets) = (example.contains("certificates:"), example.contains("targets:\n"))
        var text = example.hasPrefix("version:") ? example : "version: 1\n\(example)"
        if !example.contains("issuers:") { text += "\nissuers: { local: { type: local-ca, commonName: Local CA } }" }
        if targets, !certificates {
            let name = example.components(separatedBy: "- name: ").dropFirst().first?.prefix { $0 != "\n" } ?? ""
            text +=
                "\ncertificates: [ { name: messenger, dnsNames: [messenger.example.com], issuer: local, targets: [\(name)] } ]"
        }
        if certificates, !targets {
            text += """

                targets:
                  - name: loadbalancer
                    type: haproxy
                    bundle: "/etc/haproxy/certs/{name}.pem"
                    reload: { method: systemd }
                    endpoints: [ { address: "127.0.0.1:443" } ]
                """
        }
        return text
    }

    @Test(
        "can be used as they stand",
        arguments: [
            ("README.md", 4), ("docs/configuration.md", 7), ("docs/notifications.md", 1), ("docs/haproxy.md", 3),
            ("docs/acme.md", 2),
            ("docs/maintenance.md", 7),
        ])
    func areValid(document: String, count: Int) throws {
        let examples = try Self.examples(in: document)
        #expect(examples.count >= count, "fewer examples are found than were written")
        for example in examples {
            do {
                _ = try ConfigurationFile.parse(Array(Self.whole(example).utf8), path: "/etc/certs/certs.yml")
            } catch {
                Issue.record("\(document): \(error.report)\n\(example)")
            }
        }
    }
}
