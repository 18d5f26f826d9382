import CertsCore
import Foundation
import Yams

/// From the bytes of the file to a YAML tree, with everything refused that could be expensive or a surprise.
enum ConfigurationText {
    /// References (`*name`) and anchors (`&name`) in one file. A reference in a reference in … grows exponentially when
    /// the tree is walked, so their number is bounded before anything is parsed.
    static let maximumReferences = 16

    /// The text, without a byte order mark; `nil` and a problem with its place if it is not UTF-8.
    static func decode(_ bytes: [UInt8], _ problems: ConfigurationProblems) -> String? {
        let content = bytes.starts(with: [0xef, 0xbb, 0xbf]) ? bytes[3...] : bytes[...]
        guard let text = String(validating: content, as: UTF8.self) else {
            let place = firstInvalidPlace(content)
            problems.add(line: place.line, column: place.column, "the file is not UTF-8 text here", "save it as UTF-8")
            return nil
        }
        if content.contains(0) {
            let before = content.prefix { $0 != 0 }
            problems.add(
                line: before.count { $0 == UInt8(ascii: "\n") } + 1,
                column: before.reversed().prefix { $0 != UInt8(ascii: "\n") }.count + 1,
                "the file contains a NUL byte", "check that it is a text file")
            return nil
        }
        return text
    }

    /// The root of the one document; `nil` and a problem if it is empty or not YAML.
    static func compose(_ text: String, _ problems: ConfigurationProblems) -> Node? {
        guard referencesAreBounded(text, problems) else { return nil }
        do {
            if let root = try Yams.compose(yaml: text), !isNull(root) { return root }
            problems.add(
                line: 1, column: 1, "the file is empty", "start it with 'version: 1'; 'certs init' writes an example")
        } catch let error as YamlError {
            add(error, text, problems)
        } catch {
            problems.add(line: 1, column: 1, "the file is not YAML: \(error)", "correct it")
        }
        return nil
    }

    static func isNull(_ node: Node) -> Bool {
        guard case .scalar(let scalar) = node else { return false }
        return scalar.style == .plain && ["", "~", "null", "Null", "NULL"].contains(scalar.string)
    }

    private static func referencesAreBounded(_ text: String, _ problems: ConfigurationProblems) -> Bool {
        var count = 0
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            guard line.first(where: { $0 != " " }) != "#" else { continue }
            var previous: UInt8 = 0x20
            var marker = 0
            for (column, byte) in line.utf8.enumerated() {
                let isWord = byte.isWordByte
                if isWord, marker > 0 { count += 1 }
                if count > maximumReferences {
                    problems.add(
                        line: index + 1, column: column,
                        "more than \(maximumReferences) YAML anchors and references (&name, *name)",
                        "write the values out")
                    return false
                }
                marker = !previous.isWordByte && (byte == UInt8(ascii: "*") || byte == UInt8(ascii: "&")) ? 1 : 0
                previous = byte
            }
        }
        return true
    }

    private static func firstInvalidPlace(_ bytes: ArraySlice<UInt8>) -> (line: Int, column: Int) {
        for (index, line) in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated()
        where String(validating: line, as: UTF8.self) == nil {
            // The longest valid prefix ends before the first bad byte; columns count scalars as everywhere else.
            var decoder = UTF8()
            var iterator = line.makeIterator()
            var column = 1
            while case .scalarValue = decoder.decode(&iterator) { column += 1 }
            return (index + 1, column)
        }
        return (1, 1)
    }

    private static func add(_ error: YamlError, _ text: String, _ problems: ConfigurationProblems) {
        switch error {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            if problem.hasPrefix("Maximum nesting level") {
                return problems.add(
                    mark, "nested too deeply", "no value of this format is nested more than four levels deep")
            }
            if let advice = advice(at: mark, in: text) {
                return problems.add(line: mark.line, column: advice.column, advice.what, advice.remedy)
            }
            let why = context.map { " (\($0.text) at \($0.mark.line):\($0.mark.column))" } ?? ""
            problems.add(mark, "not YAML: \(problem)\(why)", "check indentation, quotes and brackets")
        case .reader(let problem, let offset, _, _):
            let before = text.prefix(offset ?? 0)
            let column =
                (before.lastIndex(where: \.isNewline).map { before[before.index(after: $0)...] } ?? before).count + 1
            problems.add(
                line: before.count(where: \.isNewline) + 1, column: column, "not YAML: \(problem)",
                "remove the character here")
        case .duplicatedKeysInMapping(let keys, let context):
            let names = keys.sorted().map { "'\($0)'" }.joined(separator: ", ")
            problems.add(
                context.mark, "\(names) is written twice in the same block (first here)", "keep one of them")
        default:
            problems.add(line: 1, column: 1, "not YAML: \(error)", "correct the file")
        }
    }

    /// What the usual mistakes look like at the place where the parser stopped.
    private static func advice(at mark: Mark, in text: String) -> (column: Int, what: String, remedy: String)? {
        let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
        guard mark.line >= 1, mark.line <= lines.count else { return nil }
        let line = Array(lines[mark.line - 1].unicodeScalars)
        if let tab = line.prefix(while: { $0 == " " || $0 == "\t" }).firstIndex(of: "\t") {
            return (tab + 1, "a tab in the indentation", "indent with spaces")
        }
        // The parser stops at the reference or behind its first character.
        for index in [mark.column - 1, mark.column - 2] where line.indices.contains(index) {
            if line[index] == "*" {
                return (
                    index + 1, "a value that begins with * means something else in YAML",
                    "put it in quotes: '*.example.com'"
                )
            }
            if index == mark.column - 1, "@`%".unicodeScalars.contains(line[index]) {
                return (index + 1, "a value cannot begin with \(line[index])", "put it in quotes")
            }
        }
        return nil
    }
}

extension UInt8 {
    fileprivate var isWordByte: Bool {
        switch self {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }
}
