import Foundation

/// A line of a report together with where it comes from: what nobody can look up is not in a report.
package struct Sourced: Sendable, Hashable, Encodable {
    package var text: String
    package var source: String

    package init(_ text: String, _ source: String) {
        self.text = text
        self.source = source
    }
}

/// Collects the sources of a report as footnotes.
struct Footnotes {
    private(set) var sources: [String] = []

    /// The text with the mark of its source.
    mutating func marked(_ line: Sourced) -> String {
        let index = sources.firstIndex(of: line.source) ?? sources.endIndex
        if index == sources.endIndex { sources.append(line.source) }
        return "\(line.text)[^\(index + 1)]"
    }

    /// `- None` where there is nothing.
    mutating func list(_ lines: [Sourced]) -> [String] {
        lines.isEmpty ? ["- None"] : lines.map { "- " + marked($0) }
    }

    var text: [String] { sources.enumerated().map { "[^\($0.offset + 1)]: \($0.element)" } }
}

extension String {
    /// Words from outside as one line of Markdown that formats nothing.
    var plainMarkdown: String {
        var result = ""
        for character in self {
            if character.isNewline {
                result += " "
                continue
            }
            if "\\`*_[]<>|#".contains(character) { result += "\\" }
            result.append(character)
        }
        return result
    }
}
