/// How many columns a text takes on a terminal, and texts cut to a number of columns.
enum TextWidth {
    static func of(_ text: String) -> Int {
        text.utf8.allSatisfy { $0 < 0x80 } ? text.utf8.count : text.reduce(0) { $0 + of($1) }
    }

    /// The wide and full-width blocks of Unicode's East Asian Width, roughly: what terminals draw two columns wide.
    private static func of(_ character: Character) -> Int {
        guard let first = character.unicodeScalars.first else { return 0 }
        switch first.value {
        case 0x1100...0x115f, 0x2e80...0xa4cf, 0xac00...0xd7a3, 0xf900...0xfaff, 0xfe30...0xfe4f, 0xff00...0xff60,
            0xffe0...0xffe6, 0x1f300...0x1faff, 0x20000...0x3fffd:
            return 2
        case 0x300...0x36f, 0x200b...0x200d, 0xfe00...0xfe0f: return 0
        default: return 1
        }
    }

    /// The text in at most `width` columns; what is cut is told by `mark`, which is one column wide.
    static func cut(_ text: String, to width: Int, mark: String) -> String {
        guard of(text) > width else { return text }
        return width < 1 ? "" : prefix(text, width - 1) + mark
    }

    /// The same, cut in the middle: of a path or a host name both ends tell something.
    static func cutInside(_ text: String, to width: Int, mark: String) -> String {
        guard of(text) > width else { return text }
        guard width > 4 else { return cut(text, to: width, mark: mark) }
        let tail = (width - 1) / 2
        return prefix(text, width - 1 - tail) + mark + String(prefix(String(text.reversed()), tail).reversed())
    }

    static func padded(_ text: String, to width: Int, isNumber: Bool = false) -> String {
        let padding = String(repeating: " ", count: max(0, width - of(text)))
        return isNumber ? padding + text : text + padding
    }

    private static func prefix(_ text: String, _ width: Int) -> String {
        var (result, taken) = ("", 0)
        for character in text {
            taken += of(character)
            if taken > width { break }
            result.append(character)
        }
        return result
    }
}
