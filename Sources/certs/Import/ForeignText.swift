import Foundation

/// The files of settings that other clients write: pure, and forgiving, because no other part of them concerns us.
enum ForeignText {
    /// `key = value` lines below `[section]` and `[[subsection]]` (certbot's renewal files).
    ///
    /// Keys before the first section are in the section ``""``; of a subsection, in `section/subsection`.
    static func sections(_ text: String) -> [String: [String: String]] {
        var result: [String: [String: String]] = [:]
        var section = ""
        var parent = ""
        for line in text.split(whereSeparator: \.isNewline) {
            let line = line.trimmingCharacters(in: .whitespaces)
            if line.isEmpty || line.hasPrefix("#") { continue }
            if line.hasPrefix("[["), line.hasSuffix("]]") {
                section = "\(parent)/\(unquoted(line.dropFirst(2).dropLast(2)))"
            } else if line.hasPrefix("["), line.hasSuffix("]") {
                parent = String(line.dropFirst().dropLast())
                section = parent
            } else if let equals = line.firstIndex(of: "=") {
                let key = unquoted(line[..<equals])
                result[section, default: [:]][key] = unquoted(line[line.index(after: equals)...])
            }
        }
        return result
    }

    /// `NAME='value'` lines, as shells read them; nothing is expanded.
    static func assignments(_ text: String) -> [String: String] {
        var result: [String: String] = [:]
        for line in text.split(whereSeparator: \.isNewline) {
            let line = line.trimmingCharacters(in: .whitespaces)
            guard !line.hasPrefix("#"), let equals = line.firstIndex(of: "=") else { continue }
            let name = line[..<equals].replacing("export ", with: "")
            guard !name.isEmpty, name.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }) else {
                continue
            }
            result[String(name)] = unquoted(line[line.index(after: equals)...])
        }
        return result
    }

    private static func unquoted(_ text: some StringProtocol) -> String {
        let bare = text.trimmingCharacters(in: .whitespaces)
        for quote in ["'", "\""] where bare.count >= 2 && bare.hasPrefix(quote) && bare.hasSuffix(quote) {
            return String(bare.dropFirst().dropLast())
        }
        return bare
    }

    /// Seconds of `30 days`, `2 weeks`, `12 hours`; `nil` for anything else.
    static func duration(_ text: String) -> TimeInterval? {
        let words = text.lowercased().split(separator: " ")
        guard words.count == 2, let number = Int32(words[0]), number > 0 else { return nil }
        let units: [String: TimeInterval] = ["hour": 3600, "day": 86400, "week": 7 * 86400, "month": 30 * 86400]
        let unit = words[1].hasSuffix("s") ? String(words[1].dropLast()) : String(words[1])
        return units[unit].map { $0 * TimeInterval(number) }
    }
}
