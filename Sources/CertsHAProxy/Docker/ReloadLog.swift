import CertsCore

/// What HAProxy's master wrote since it was told to reload.
struct ReloadLog: Sendable, Equatable {
    enum Progress: Sendable, Equatable {
        /// Nothing of a reload: not begun, or HAProxy is quiet, or the log cannot be read.
        case silent
        /// Another reload has ended meanwhile, ours has not begun.
        case foreign
        case begun
        case loaded
        case failed
    }

    let progress: Progress
    /// Its alerts, or what else it said last, on one line; `nil`: it said nothing.
    let reason: String?

    init(_ text: String) {
        let lines = text.split(whereSeparator: \.isNewline)
        var progress = Progress.silent
        for line in lines {
            // The second is the wording before HAProxy 2.5, which does not tell how it ended.
            if line.hasSuffix(": Reloading HAProxy") || line.contains(": Reexecuting Master process") {
                progress = .begun
            } else if line.hasSuffix(": Loading success.") {
                progress = [.silent, .foreign].contains(progress) ? .foreign : .loaded
            } else if line.contains(": Loading failure!") {
                progress = [.silent, .foreign].contains(progress) ? .foreign : .failed
            }
            if progress == .loaded { break }
        }
        self.progress = progress
        reason = Self.reason(in: text)
    }

    /// The alerts in what HAProxy printed, or else its last lines, safe to show.
    static func reason(in output: String) -> String? {
        let lines = output.split(whereSeparator: \.isNewline)
        let alerts = lines.filter { $0.contains("[ALERT]") }
        let shown = alerts.isEmpty ? lines.suffix(5) : alerts.prefix(8)
        return shown.isEmpty ? nil : TerminalText.sanitized(shown.joined(separator: " | "), limit: 1000)
    }
}
