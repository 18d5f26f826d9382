import CertsCore
import Foundation

/// Adds declarations to the text of a configuration file, and leaves every other line as it is.
enum ConfigurationAddition {
    /// The text of a file that only says where the state is.
    static let emptyFile = "version: \(ConfigurationFile.version)\nstate: ./state\n"

    /// - Throws: `configuration.invalid` where the blocks of the file are not written one line to an item.
    static func adding(_ plan: ImportPlan, to text: String, path: String) throws(CertsError) -> String {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        if lines.last == "" { lines.removeLast() }
        try add(DeclarationText.issuers(plan.issuers), below: "issuers", to: &lines, path)
        try add(DeclarationText.certificates(plan.certificates), below: "certificates", to: &lines, path)
        return lines.joined(separator: "\n") + "\n"
    }

    private static func add(
        _ new: [String], below key: String, to lines: inout [String], _ path: String
    ) throws(CertsError) {
        guard !new.isEmpty else { return }
        guard let start = lines.firstIndex(where: { $0.hasPrefix("\(key):") }) else {
            lines += ["", "\(key):"] + new
            return
        }
        let rest = lines[start].dropFirst(key.count + 1).trimmingCharacters(in: .whitespaces)
        let isEmpty = ["{}", "[]", "~", "null"].contains(rest)
        guard rest.isEmpty || rest.hasPrefix("#") || isEmpty else {
            throw CertsError(
                .configurationInvalid, "'\(key)' in \(path) is written on one line", subject: path,
                hint: "write it as a block with one item a line, or put the declarations in by hand")
        }
        if isEmpty { lines[start] = "\(key):" }
        // The block ends before the next key of the file; comments and blank lines before that belong to the key.
        var end = start
        var indentation: Int?
        for (index, line) in lines.enumerated().dropFirst(start + 1) {
            let content = line.drop { $0 == " " }
            if content.isEmpty || content.hasPrefix("#") { continue }
            let depth = line.count - content.count
            if depth == 0, !content.hasPrefix("- ") { break }
            if indentation == nil { indentation = depth }
            end = index
        }
        let depth = indentation ?? 2
        let indented = new.map { String(repeating: " ", count: depth) + $0.dropFirst(2) }
        lines.insert(contentsOf: indented, at: end + 1)
    }

    /// Makes sure that the new text declares all that the old one did, and what was added, and nothing else.
    static func check(
        _ text: String, adds plan: ImportPlan, to old: Declarations, path: String
    ) throws(CertsError) -> Declarations {
        let new = try ConfigurationFile.parse(Array(text.utf8), path: path)
        let added = Set(plan.certificates.filter { !$0.isDeclared }.map(\.name))
        let addedIssuers = Set(plan.issuers.map(\.name))
        let kept = new.certificates.filter { !added.contains($0.name) }
        let keptIssuers = new.issuers.filter { !addedIssuers.contains($0.name) }
        let names = Dictionary(uniqueKeysWithValues: plan.certificates.map { ($0.name, Set($0.names)) })
        let isComplete =
            new.certificates.count == kept.count + added.count
            && new.issuers.count == keptIssuers.count + addedIssuers.count
            && new.certificates.allSatisfy { names[$0.name] == nil || names[$0.name] == Set($0.names) }
        guard kept == old.certificates, keptIssuers == old.issuers, new.targets == old.targets, isComplete else {
            throw CertsError(
                .configurationInvalid, "the declarations cannot be added to \(path) without changing others",
                subject: path, hint: "put them in by hand; nothing was changed")
        }
        return new
    }
}
