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

    /// Critical: expired, or seen served wrongly. Warning: due (also while the issuer is waited for), missing, failing, not
    /// deployed, or a channel that fails.
    init(_ report: StatusReport, at now: Date) {
        let managed = report.certificates.filter(\.managed)
        let critical = managed.filter { entry in
            entry.state == .expired || entry.isWronglyServed
        }
        let names = Set(critical.map(\.name))
        let warning = managed.filter {
            let isLate = $0.state == .waiting && $0.dueAt.map { $0 <= now } ?? true
            return !names.contains($0.name) && ($0.isDue || isLate)
        }
        let channels = report.channels.filter { $0.consecutiveFailures > 0 }
        state = !critical.isEmpty ? .critical : warning.isEmpty && channels.isEmpty ? .ok : .warning
        let soonest = managed.compactMap { entry in entry.daysLeft.map { (entry.name, $0) } }.min { $0.1 < $1.1 }
        var words = Self.list(critical) + Self.list(warning) + channels.map { "channel \($0.channel) fails" }
        if words.isEmpty { words = ["\(managed.count) certificates are well"] }
        if let soonest { words.append("first to expire: \(soonest.0) in \(Self.days(soonest.1)) days") }
        var data = [
            "certificates=\(managed.count);;;0", "warning=\(warning.count);;;0", "critical=\(critical.count);;;0",
        ]
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
        return entries.prefix(5).map { "\($0.name) is \($0.isWronglyServed ? "wrongly served" : $0.state.rawValue)" }
            + (rest > 0 ? ["and \(rest) more"] : [])
    }

    /// A bar would begin the performance data.
    private static func line(_ state: State, _ text: String, _ data: [String]) -> String {
        let safe = TerminalText.sanitized(text, limit: 1000).replacingOccurrences(of: "|", with: "/")
        return "CERTS \(state.word) - \(safe)" + (data.isEmpty ? "" : " | " + data.joined(separator: " "))
    }
}
