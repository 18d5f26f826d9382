import CertsCore
import Yams

/// Collects what is wrong with a configuration file, so that all of it is told at once.
final class ConfigurationProblems {
    /// More than a person corrects in one go; the rest is counted.
    static let limit = 100

    let file: String
    private var found: [(line: Int, column: Int, text: String)] = []
    /// What was told already: nodes that inherit a value of their target read it once each.
    private var told: Set<String> = []

    init(file: String) { self.file = file }

    var isEmpty: Bool { found.isEmpty }
    var count: Int { found.count }

    /// Adds a problem at `mark` (the beginning of the file without one): what is wrong, and what to write instead.
    func add(_ mark: Mark?, _ what: String, _ remedy: String) {
        add(line: mark?.line ?? 1, column: mark?.column ?? 1, what, remedy)
    }

    func add(line: Int, column: Int, _ what: String, _ remedy: String) {
        let text = "\(what); \(remedy)"
        guard told.insert("\(line):\(column): \(text)").inserted else { return }
        found.append((max(1, line), max(1, column), text))
    }

    /// All problems as one error, in the order of the file.
    func error() -> CertsError {
        let ordered = found.enumerated().sorted {
            ($0.element.line, $0.element.column, $0.offset) < ($1.element.line, $1.element.column, $1.offset)
        }
        var details = ordered.prefix(Self.limit).map {
            "\(file):\($0.element.line):\($0.element.column): \($0.element.text)"
        }
        if ordered.count > Self.limit { details.append("\(file): and \(ordered.count - Self.limit) more") }
        let count = found.count == 1 ? "a problem" : "\(found.count) problems"
        return CertsError(
            .configurationInvalid, "\(file) has \(count)", subject: file,
            hint: "correct the file, then run 'certs check'; nothing was changed", details: details)
    }
}

/// The known word that is nearest to a misspelt one.
enum Spelling {
    /// `nil` if none is within a third of the word's length (at least one, at most three edits).
    static func nearest(to word: String, in known: [String]) -> String? {
        guard word.utf8.count <= 64 else { return nil }
        let lowered = word.lowercased()
        let allowed = min(3, max(1, word.count / 3))
        let scored = known.map { (word: $0, distance: distance(lowered, $0.lowercased())) }
        guard let best = scored.min(by: { $0.distance < $1.distance }), best.distance <= allowed else { return nil }
        return best.word
    }

    /// Edits (insert, delete, replace, swap of neighbours) between two short words.
    static func distance(_ left: String, _ right: String) -> Int {
        let a = Array(left.unicodeScalars)
        let b = Array(right.unicodeScalars)
        var beforePrevious: [Int] = []
        var previous = Array(0...b.count)
        for i in 0..<a.count {
            var row = [i + 1]
            for j in 0..<b.count {
                var cost = min(previous[j] + (a[i] == b[j] ? 0 : 1), previous[j + 1] + 1, row[j] + 1)
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, beforePrevious[j - 1] + 1) }
                row.append(cost)
            }
            beforePrevious = previous
            previous = row
        }
        return previous[b.count]
    }
}
