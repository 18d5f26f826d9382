import CertsCore
import Foundation

/// What the place where a view is shown can do.
struct TerminalStyle: Sendable {
    /// In columns; `nil`: as wide as it takes, nothing is cut.
    var width: Int?
    /// In lines; only a terminal has one.
    var height: Int?
    var isUTF8 = true
    var usesColor = false

    static let standardOutput = now(STDOUT_FILENO)

    /// Of what is behind a descriptor; a terminal can change its size.
    static func now(_ descriptor: Int32) -> TerminalStyle {
        let environment = ProcessInfo.processInfo.environment
        let isTerminal = isatty(descriptor) == 1
        var size = winsize()
        let known = isTerminal && ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
        var style = decide(environment, isTerminal: isTerminal, terminalWidth: known ? Int(size.ws_col) : nil)
        if known { style.height = Int(size.ws_row) }
        return style
    }

    /// COLUMNS goes before what the terminal says, as in ls(1); a terminal that says nothing has 80 columns, as for
    /// terminfo(5). Colour by no-color.org and bixense.com/clicolors.
    static func decide(_ environment: [String: String], isTerminal: Bool, terminalWidth: Int?) -> TerminalStyle {
        func isSet(_ name: String) -> Bool { !(environment[name] ?? "").isEmpty }
        let declared = environment["COLUMNS"].flatMap { Int($0) }.flatMap { $0 > 0 && $0 < 10_000 ? $0 : nil }
        let isForced = isSet("CLICOLOR_FORCE") && environment["CLICOLOR_FORCE"] != "0"
        return TerminalStyle(
            width: declared ?? (isTerminal ? terminalWidth ?? 80 : nil), height: nil, isUTF8: isUTF8(environment),
            usesColor: !isSet("NO_COLOR") && environment["TERM"] != "dumb" && (isTerminal || isForced))
    }

    /// The first of them that is set decides (locale(7)); none is the locale C.
    private static func isUTF8(_ environment: [String: String]) -> Bool {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].lazy.compactMap { environment[$0] }.first { !$0.isEmpty } ?? "C"
        let charset = locale.lowercased().replacingOccurrences(of: "-", with: "")
        return charset.contains("utf8")
    }

    enum Paint: String {
        case red = "31"
        case green = "32"
        case yellow = "33"
    }

    func painted(_ text: String, _ paint: Paint?) -> String {
        guard usesColor, let paint, !text.isEmpty else { return text }
        return "\u{1b}[\(paint.rawValue)m\(text)\u{1b}[0m"
    }

    /// What stands for what was cut off.
    var mark: String { isUTF8 ? "…" : "~" }
}
