import CertsCore
import Foundation
import Yams

/// A value of the file together with where it is.
struct Located<Value> {
    var value: Value
    var mark: Mark?
}

/// A YAML mapping whose keys are known: unknown keys are reported once, wrong types when the value is asked for.
struct ConfigurationBlock {
    /// What the block is, for messages: `certificate 'messenger'`.
    let what: String
    let mark: Mark?
    let problems: ConfigurationProblems
    private let values: [String: (key: Mark?, node: Node)]

    /// `nil` and a problem if `node` is not a mapping.
    init?(_ node: Node, _ what: String, keys known: [String], _ problems: ConfigurationProblems) {
        guard case .mapping(let mapping) = node else {
            problems.add(
                node.mark, "\(what) must be a block of 'key: value', not \(ConfigurationBlock.typeName(node))",
                "its keys are \(known.joined(separator: ", "))")
            return nil
        }
        var values: [String: (Mark?, Node)] = [:]
        for (keyNode, value) in mapping {
            guard case .scalar(let scalar) = keyNode else {
                problems.add(
                    keyNode.mark, "a key of \(what) must be a word", "its keys are \(known.joined(separator: ", "))")
                continue
            }
            guard known.contains(scalar.string) else {
                let remedy =
                    Spelling.nearest(to: scalar.string, in: known).map { "did you mean '\($0)'?" }
                    ?? "its keys are \(known.joined(separator: ", "))"
                problems.add(scalar.mark, "unknown key '\(scalar.string)' in \(what)", remedy)
                continue
            }
            values[scalar.string] = (scalar.mark, value)
        }
        self.what = what
        self.mark = mapping.mark
        self.problems = problems
        self.values = values
    }

    /// The value of a key; a key without a value counts as absent.
    func node(_ key: String) -> Node? {
        guard let node = values[key]?.node, !ConfigurationText.isNull(node) else { return nil }
        return node
    }

    /// Where to point to for a problem of `key`: its value, the key, or the block.
    func mark(_ key: String) -> Mark? { node(key)?.mark ?? values[key]?.key ?? mark }

    func missing(_ key: String, _ remedy: String) {
        problems.add(values[key]?.key ?? mark, "\(what) has no '\(key)'", remedy)
    }

    func text(_ key: String) -> Located<String>? {
        guard let node = node(key) else { return nil }
        return text(node, key)
    }

    /// The text of `key`; a problem if it is not there.
    func requiredText(_ key: String, _ remedy: String) -> Located<String>? {
        guard node(key) != nil else {
            missing(key, remedy)
            return nil
        }
        return text(key)
    }

    /// A list of texts; empty if it is absent.
    func texts(_ key: String, _ example: String = "[a, b]") -> [Located<String>] {
        list(key, example).compactMap { text($0, "an element of \(key)") }
    }

    /// The elements of a list; empty if it is absent.
    func list(_ key: String, _ example: String) -> [Node] {
        guard let node = node(key) else { return [] }
        guard case .sequence(let sequence) = node else {
            problems.add(
                node.mark, "'\(key)' of \(what) must be a list, not \(ConfigurationBlock.typeName(node))",
                "write it as \(example)")
            return []
        }
        return Array(sequence)
    }

    func flag(_ key: String) -> Bool? {
        guard let node = node(key) else { return nil }
        if case .scalar(let scalar) = node, scalar.style == .plain {
            if ["true", "True", "TRUE"].contains(scalar.string) { return true }
            if ["false", "False", "FALSE"].contains(scalar.string) { return false }
        }
        problems.add(
            node.mark, "'\(key)' of \(what) must be true or false, not \(ConfigurationBlock.typeName(node))",
            "write true or false")
        return nil
    }

    func integer(_ key: String, _ range: ClosedRange<Int>) -> Int? {
        guard let node = node(key) else { return nil }
        if case .scalar(let scalar) = node, scalar.style == .plain, let value = Int(scalar.string),
            range.contains(value)
        {
            return value
        }
        problems.add(
            node.mark, "'\(key)' of \(what) must be a whole number, not \(ConfigurationBlock.typeName(node))",
            "write a number from \(range.lowerBound) to \(range.upperBound)")
        return nil
    }

    /// Seconds.
    func duration(_ key: String, _ range: ClosedRange<TimeInterval>) -> TimeInterval? {
        guard let text = text(key) else { return nil }
        guard let seconds = ConfigurationValue.duration(text.value) else {
            problems.add(
                text.mark, "'\(text.value)' is not a duration ('\(key)' of \(what))",
                "write a number with s, m, h or d: 90s, 15m, 12h, 30d")
            return nil
        }
        guard range.contains(seconds) else {
            let bounds =
                "\(ConfigurationValue.words(range.lowerBound)) to \(ConfigurationValue.words(range.upperBound))"
            problems.add(
                text.mark, "'\(key)' of \(what) is \(text.value), out of its bounds", "write something from \(bounds)")
            return nil
        }
        return seconds
    }

    func block(_ key: String, keys known: [String]) -> ConfigurationBlock? {
        node(key).flatMap { ConfigurationBlock($0, "'\(key)' of \(what)", keys: known, problems) }
    }

    private func text(_ node: Node, _ key: String) -> Located<String>? {
        // The text as it is written, not as YAML resolves it: `country: NO` is Norway and `name: 1` is a name.
        guard case .scalar(let scalar) = node, !ConfigurationText.isNull(node) else {
            problems.add(
                node.mark, "'\(key)' of \(what) must be a text, not \(ConfigurationBlock.typeName(node))",
                "write one value")
            return nil
        }
        let trimmed = scalar.string.trimmingCharacters(in: .whitespaces)
        guard !trimmed.isEmpty, trimmed == scalar.string,
            scalar.string.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7f })
        else {
            problems.add(
                node.mark, "'\(key)' of \(what) is empty, or has blanks at its ends or control characters in it",
                "write a plain value, or leave the key out")
            return nil
        }
        return Located(value: scalar.string, mark: scalar.mark)
    }

    static func typeName(_ node: Node) -> String {
        switch node {
        case .mapping: "a block"
        case .sequence: "a list"
        case .scalar(let scalar):
            ConfigurationText.isNull(node) ? "nothing" : "'\(TerminalText.sanitized(scalar.string, limit: 80))'"
        case .alias: "a reference"
        }
    }
}
