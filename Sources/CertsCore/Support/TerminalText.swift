/// Text from outside, made safe to print on a terminal or to put into a one-line log record.
package enum TerminalText {
    /// Replaces control characters (escape sequences, newlines, NUL) and bidirectional overrides by `\u{…}`; the rest is
    /// kept. A subject or a file name from outside can therefore neither move the cursor nor forge a second log line.
    package static func sanitized(_ text: String, limit: Int = 4096) -> String {
        if text.utf8.count <= limit, text.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7f }) { return text }
        var result = ""
        for scalar in text.unicodeScalars {
            if result.utf8.count >= limit {
                result += "…"
                break
            }
            switch scalar.value {
            case 0x00..<0x20, 0x7f..<0xa0, 0x202a...0x202e, 0x2066...0x2069, 0x200e...0x200f, 0x2028...0x2029:
                result += "\\u{\(String(scalar.value, radix: 16))}"
            default:
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
