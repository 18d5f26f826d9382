import CertsCore
import CertsEngine
import Foundation

/// What `rotate --dry-run` prints: per certificate and node the method, the commands, the difference and the findings.
/// Never key material.
struct DryRun {
    let items: [Item]
    let at: Date

    struct Document: Encodable {
        let schema = 1
        let at: Date
        let items: [Item]
    }

    struct Item: Encodable {
        let certificate: String
        let action: String
        let reason: String
        @OrNull var target: String?
        @OrNull var method: String?
        @OrNull var why: String?
        let commands: [String]
        let before: [Leaf]
        let after: [Leaf]
        let findings: [CheckCommand.SubjectFinding]
    }

    struct Leaf: Encodable {
        @OrNull var path: String?
        let names: [String]
        @OrNull var notBefore: Date?
        @OrNull var notAfter: Date?
        /// `null`: not issued yet, or not readable.
        @OrNull var sha256: String?
    }

    init(_ planned: [PlannedDeployment], at now: Date) {
        at = now
        items = planned.map { planned in
            let subject = planned.node?.description ?? planned.declaration.name.rawValue
            return Item(
                certificate: planned.declaration.name.rawValue, action: planned.item.purpose.rawValue,
                reason: planned.item.reason.explanation, target: planned.node?.description,
                method: planned.preview?.method, why: planned.preview?.reason,
                commands: planned.preview?.commands ?? [], before: planned.preview?.before.map(Leaf.init) ?? [],
                after: Self.after(planned),
                findings: planned.preview?.findings.map { .init(subject, $0) } ?? [])
        }
    }

    private static func after(_ planned: PlannedDeployment) -> [Leaf] {
        guard planned.after.isEmpty else { return planned.after.map(Leaf.init) }
        // Not issued yet: the names are what is asked for, dates and fingerprint are the issuer's.
        return planned.declaration.key.members.map { _ in
            Leaf(path: nil, names: planned.declaration.names.map(\.value), notBefore: nil, notAfter: nil, sha256: nil)
        }
    }

    func print(_ format: OutputFormat) throws {
        guard format == .table else {
            return try Listing(
                document: Document(at: at, items: items), items: items,
                columns: [
                    Column("certificate") { $0.certificate }, Column("target") { $0.target ?? "-" },
                    Column("method") { $0.method ?? "-" }, Column("commands") { $0.commands.joined(separator: "; ") },
                    Column("findings") { $0.findings.map(\.id).joined(separator: " ") },
                ]
            ).print(format)
        }
        if items.isEmpty { Terminal.note("nothing is due") }
        for item in items { Terminal.print(Self.text(item)) }
    }

    /// One paragraph: what a person reads before saying yes.
    private static func text(_ item: Item) -> String {
        var lines = ["\(item.certificate) → \(item.target ?? "no target"): \(item.action) (\(item.reason))"]
        if let method = item.method { lines.append("    method    \(method): \(item.why ?? "")") }
        lines += item.commands.map { "    would     \($0)" }
        for (index, leaf) in item.before.enumerated() {
            lines.append("    now       \(leaf.path ?? "-")  \(text(leaf))")
            let next = index < item.after.count ? item.after[index] : nil
            lines.append("    then      \(next.map { $0.sha256 == nil ? "a new certificate" : text($0) } ?? "-")")
            lines += difference(leaf, next)
        }
        lines += item.findings.map {
            "    \($0.severity.rawValue.padding(toLength: 9, withPad: " ", startingAt: 0)) \($0.id): \($0.message); \($0.remedy)"
        }
        return lines.map { TerminalText.sanitized($0) }.joined(separator: "\n")
    }

    private static func difference(_ before: Leaf, _ after: Leaf?) -> [String] {
        guard let after, before.sha256 != nil else { return [] }
        let gone = Set(before.names).subtracting(after.names).sorted()
        let new = Set(after.names).subtracting(before.names).sorted()
        return (new.isEmpty ? [] : ["    new names \(new.joined(separator: ", "))"])
            + (gone.isEmpty ? [] : ["    LOSES     \(gone.joined(separator: ", "))"])
    }

    private static func text(_ leaf: Leaf) -> String {
        guard let digest = leaf.sha256 else { return "nothing that can be read" }
        let dates = "\(Time.text(leaf.notBefore)) to \(Time.text(leaf.notAfter))"
        return "\(digest.prefix(16))  \(dates)  \(leaf.names.joined(separator: ", "))"
    }
}

extension DryRun.Leaf {
    fileprivate init(_ leaf: DeploymentPreview.Leaf) {
        self.init(
            path: leaf.path, names: leaf.names, notBefore: leaf.notBefore, notAfter: leaf.notAfter,
            sha256: leaf.fingerprint?.hex)
    }

    fileprivate init(_ record: CertificateRecord) {
        self.init(
            path: nil, names: record.dnsNames + record.ipAddresses, notBefore: record.notBefore,
            notAfter: record.notAfter, sha256: record.sha256)
    }
}
