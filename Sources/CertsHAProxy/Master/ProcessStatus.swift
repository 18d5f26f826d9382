import CertsCore
import Foundation

/// One process, as `/proc` shows it to every user (proc(5)).
struct ProcessStatus: Sendable, Equatable {
    let pid: Int
    let parent: Int
    /// The program's name, at most 15 bytes.
    let name: String
    let state: Character
    /// Since the start of the machine: with the pid, an identity.
    let startTicks: UInt64
    /// Where its stack begins: another address after each `exec`. 0: not known, because its owner is another user.
    let image: UInt64
    /// Bit 0 is signal 1.
    let blockedSignals: UInt64
    let caughtSignals: UInt64

    /// From the text of `/proc/PID/stat` and `/proc/PID/status`.
    init?(stat: String, status: String) {
        // The name may hold blanks and parentheses of its own.
        guard let open = stat.firstIndex(of: "("), let close = stat.lastIndex(of: ")"), open < close else { return nil }
        let fields = stat[stat.index(after: close)...].split(separator: " ")
        guard fields.count > 25, let pid = Int(stat[..<open].drop { $0 == " " }.prefix { $0 != " " }),
            let state = fields[0].first, let parent = Int(fields[1]), let startTicks = UInt64(fields[19]),
            let image = UInt64(fields[25]), let blocked = Self.mask("SigBlk", status),
            let caught = Self.mask("SigCgt", status)
        else { return nil }
        self.pid = pid
        self.parent = parent
        name = String(stat[stat.index(after: open)..<close])
        self.state = state
        self.startTicks = startTicks
        self.image = image
        blockedSignals = blocked
        caughtSignals = caught
    }

    private static func mask(_ key: String, _ status: String) -> UInt64? {
        status.split(separator: "\n").first { $0.hasPrefix("\(key):") }.flatMap {
            UInt64($0.dropFirst(key.count + 1).filter { !$0.isWhitespace }, radix: 16)
        }
    }

    /// - Returns: `nil` where there is no such process, or none that we may see. Blocking, for as long as `/proc` takes.
    static func read(_ pid: Int) -> ProcessStatus? {
        guard let stat = text("/proc/\(pid)/stat"), let status = text("/proc/\(pid)/status") else { return nil }
        return ProcessStatus(stat: stat, status: status)
    }

    /// The pids of its children, also of those that its threads started. `nil`: they cannot be seen. Blocking.
    static func children(of pid: Int) -> [Int]? {
        let directory = FileManager.default
        guard let tasks = try? directory.contentsOfDirectory(atPath: "/proc/\(pid)/task") else { return nil }
        let lists = tasks.map { text("/proc/\(pid)/task/\($0)/children") }
        if !lists.contains(nil) {
            return lists.flatMap { ($0 ?? "").split(separator: " ").compactMap { Int($0) } }.sorted()
        }
        // A kernel without CONFIG_PROC_CHILDREN.
        let all = (try? directory.contentsOfDirectory(atPath: "/proc")) ?? []
        return all.compactMap { Int($0) }.filter { read($0)?.parent == pid }.sorted()
    }

    /// It has ended, and only waits for its parent to take notice.
    var hasEnded: Bool { state == "Z" || state == "X" }

    func catches(_ signal: Int32) -> Bool { caughtSignals >> UInt64(signal - 1) & 1 == 1 }
    func blocks(_ signal: Int32) -> Bool { blockedSignals >> UInt64(signal - 1) & 1 == 1 }

    /// Since its start, in seconds. Blocking.
    var age: Double? {
        guard let uptime = Self.text("/proc/uptime")?.split(separator: " ").first.flatMap({ Double($0) }) else {
            return nil
        }
        let ticksPerSecond = Double(sysconf(Int32(_SC_CLK_TCK)))
        return ticksPerSecond > 0 ? max(0, uptime - Double(startTicks) / ticksPerSecond) : nil
    }

    private static func text(_ path: String) -> String? { try? String(contentsOfFile: path, encoding: .utf8) }
}
