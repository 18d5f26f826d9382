import CertsCore
import CertsEngine
import Foundation

/// The status as a monitoring plugin tells it (Monitoring Plugins Development Guidelines): one line with performance data
/// after a bar, and an exit code.
struct PluginResult {
    enum State: Int32 {
        case ok = 0
        case warning, critical, unknown

        var word: String {
            switch self {
            case .ok: "OK"
            case .warning: "WARNING"
            case .critical: "CRITICAL"
            case .unknown: "UNKNOWN"
            }
        }
    }

    let state: State
    let line: String

    /// Managed certificates and watched ones alike. Critical: expired, or seen served wrongly. Warning: due (also while the
    /// issuer is waited for), missing, failing, not deployed, unreadable, an endpoint that is down, a source that cannot be
    /// looked at, or a channel that fails.
    ///
    /// - Parameter sources: what is watched and could not be looked at.
    init(_ report: StatusReport, downSources sources: [String] = [], at now: Date) {
        let entries = report.certificates
        let critical = entries.filter { $0.state == .expired || $0.isWronglyServed }
        let warning = entries.filter {
            let isLate = $0.state == .waiting && $0.dueAt.map { $0 <= now } ?? true
            return !($0.state == .expired || $0.isWronglyServed)
                && ($0.isDue || isLate || $0.state == .unreadable || $0.isUnseen)
        }
        let channels = report.channels.filter { $0.consecutiveFailures > 0 }
        let isWell = warning.isEmpty && channels.isEmpty && sources.isEmpty
        state = !critical.isEmpty ? .critical : isWell ? .ok : .warning
        let soonest = entries.compactMap { entry in entry.daysLeft.map { (entry.name, $0) } }.min { $0.1 < $1.1 }
        var words = Self.list(critical) + Self.list(warning) + sources.map { "\($0) cannot be looked at" }
        words += channels.map { "channel \($0.channel) fails" }
        if words.isEmpty { words = ["\(entries.count) certificates are well"] }
        if let soonest { words.append("first to expire: \(soonest.0) in \(Self.days(soonest.1)) days") }
        var data = [
            "certificates=\(entries.count);;;0", "warning=\(warning.count);;;0", "critical=\(critical.count);;;0",
        ]
        data += report.counts.map { "\($0.state.rawValue)=\($0.count);;;0" }
        // `U`: the value could not be determined.
        data.append("days_left=\(soonest.map { Self.days($0.1) } ?? "U")")
        line = Self.line(state, words.joined(separator: ", "), data)
    }

    init(unknown error: CertsError) {
        state = .unknown
        line = Self.line(.unknown, error.description, [])
    }

    private static func days(_ days: Double) -> String { String(format: "%.2f", days) }

    /// The first few: what reads the line cuts it.
    private static func list(_ entries: [StatusReport.Entry]) -> [String] {
        let rest = entries.count - 5
        return entries.prefix(5).map { "\($0.name) is \(word(for: $0))" }
            + (rest > 0 ? ["and \(rest) more"] : [])
    }

    private static func word(for entry: StatusReport.Entry) -> String {
        if entry.isWronglyServed { return "wrongly served" }
        if entry.isUnseen, entry.state == .valid { return "not seen at an endpoint" }
        return entry.state.rawValue + (entry.problem.map { " (\($0))" } ?? "")
    }

    /// A bar would begin the performance data.
    private static func line(_ state: State, _ text: String, _ data: [String]) -> String {
        let safe = TerminalText.sanitized(text, limit: 1000).replacingOccurrences(of: "|", with: "/")
        return "CERTS \(state.word) - \(safe)" + (data.isEmpty ? "" : " | " + data.joined(separator: " "))
    }
}
