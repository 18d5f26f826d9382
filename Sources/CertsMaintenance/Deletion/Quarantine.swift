import CertsCore
import Foundation

/// The rows that cannot be deleted at present, so that one of them does not stop all others.
struct Quarantine {
    /// More in one run mean that something is wrong with the job and not with rows.
    static let limit = 1000

    /// Known from earlier runs.
    private let known: [String: QuarantinedRow]
    private var resting: Set<String>
    /// Found in this run, with the reason.
    private(set) var found: [String: String] = [:]
    private let isKept: Bool

    /// - Parameter isKept: whether the keys are good for another run.
    init(_ rows: [QuarantinedRow], isKept: Bool, now: Date) {
        self.isKept = isKept
        known = Dictionary(rows.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
        resting = isKept ? Set(rows.filter { $0.retryAt > now }.map(\.key)) : []
    }

    /// The keys to leave alone now.
    var excluded: [String] { resting.union(found.keys).sorted() }
    var isFull: Bool { found.count >= Self.limit }
    var count: Int { resting.union(found.keys).count }

    mutating func add(_ key: String, _ reason: String) { found[key] = reason }
    mutating func remove(_ key: String) { found[key] = nil }

    /// What is to be kept for the next run.
    func rows(now: Date) -> [QuarantinedRow] {
        guard isKept else { return [] }
        let new = found.map { key, reason in
            let failures = (known[key]?.failures ?? 0) + 1
            return QuarantinedRow(
                key: key, reason: TerminalText.sanitized(reason, limit: 300), failures: failures,
                retryAt: now.addingTimeInterval(Self.rest(afterFailures: failures)))
        }
        return new + resting.subtracting(found.keys).compactMap { known[$0] }
    }

    /// 10 minutes, then an hour, six, and a day each; in seconds.
    private static func rest(afterFailures failures: Int) -> TimeInterval {
        [600, 3600, 21_600][safe: failures - 1] ?? 86_400
    }
}

extension Array {
    fileprivate subscript(safe index: Int) -> Element? { indices.contains(index) ? self[index] : nil }
}
