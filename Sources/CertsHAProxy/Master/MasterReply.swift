import CertsCore

/// The replies of the master CLI (management manual §9.4), read from their text; pure.
enum MasterReply {
    /// `show proc`.
    struct Processes: Sendable, Equatable {
        var master: Master
        /// Those that accept connections.
        var workers: [Worker]
        /// Those that an earlier reload has told to end.
        var oldWorkers: [Worker]
    }

    struct Master: Sendable, Equatable {
        var pid: Int
        /// How often it was told to reload; with what failed.
        var reloads: Int
        /// The reloads that failed since the last one that did not; `nil` before HAProxy 2.5.
        var failed: Int?
        var version: String
        /// HAProxy 2.7 and later answer `reload` when it is done, with its outcome; earlier ones say nothing at all.
        var reportsReloads: Bool {
            let parts = version.split(separator: ".").prefix(2).map { Int($0.prefix { $0.isASCII && $0.isNumber }) }
            guard parts.count == 2, let major = parts[0], let minor = parts[1] else { return false }
            return (major, minor) >= (2, 7)
        }
    }

    struct Worker: Sendable, Equatable {
        var pid: Int
        /// The reloads that it has outlived.
        var reloads: Int
        /// In seconds.
        var uptime: Int
    }

    /// `reload`.
    enum Reload: Sendable, Equatable {
        /// Nothing was said: HAProxy 2.6 and earlier never do.
        case silent
        case succeeded
        /// In HAProxy's words, if it was built to repeat them.
        case failed(String?)
        /// An earlier reload is not done; this one was not begun (HAProxy 3.1 and later).
        case busy
    }

    /// `@!PID show info`.
    enum WorkerState: Sendable, Equatable {
        case alive(connections: Int?, age: Double?)
        /// The master has no such worker any more.
        case gone
    }

    static func processes(_ reply: String) throws(CertsError) -> Processes {
        var (master, workers, oldWorkers): (Master?, [Worker], [Worker]) = (nil, [], [])
        var section: Substring = ""
        for line in try lines(of: reply, to: "show proc") {
            if line.hasPrefix("#") {
                section = line
            } else if section == "# workers" || section == "# old workers" {
                guard let row = Row(line), row.type == "worker" else { throw unexpected("show proc", reply) }
                let worker = Worker(pid: row.pid, reloads: row.reloads, uptime: row.uptime)
                if section == "# workers" { workers.append(worker) } else { oldWorkers.append(worker) }
            } else if section.hasPrefix("#<PID>") {
                guard master == nil, let row = Row(line), row.type == "master" else {
                    throw unexpected("show proc", reply)
                }
                master = Master(pid: row.pid, reloads: row.reloads, failed: row.failed, version: row.version)
            } else if section.isEmpty {
                throw unexpected("show proc", reply)
            }
        }
        guard let master else { throw unexpected("show proc", reply) }
        return Processes(master: master, workers: workers, oldWorkers: oldWorkers)
    }

    static func reload(_ reply: String) throws(CertsError) -> Reload {
        let lines = reply.split(separator: "\n", omittingEmptySubsequences: true)
        guard let first = lines.first else { return .silent }
        if first.hasPrefix("Permission denied") { throw refused }
        if first == "Success=1" { return .succeeded }
        guard first == "Success=0" else { throw unexpected("reload", reply) }
        if lines.contains(where: { $0.hasPrefix("Another reload is still in progress") }) { return .busy }
        let log = lines.dropFirst().filter { $0 != "--" }
        let alerts = log.filter { $0.hasPrefix("[ALERT]") }
        // An alert has the reason, and comes before lines that only say that there were alerts.
        let words = TerminalText.sanitized(
            (alerts.isEmpty ? log.suffix(3) : alerts.prefix(3)).joined(separator: " | "), limit: 1000)
        return .failed(words.isEmpty ? nil : words)
    }

    /// `show cli level`: whether it is enough for `reload`.
    static func mayReload(_ reply: String) throws(CertsError) -> Bool {
        switch try lines(of: reply, to: "show cli level") {
        case ["admin"], ["operator"]: true
        case ["user"]: false
        default: throw unexpected("show cli level", reply)
        }
    }

    static func workerState(_ reply: String) throws(CertsError) -> WorkerState {
        if reply.hasPrefix("Can't find the target") { return .gone }
        var (connections, age): (Int?, Int?)
        for line in try lines(of: reply, to: "show info") {
            if line.hasPrefix("CurrConns: ") { connections = Int(line.dropFirst(11)) }
            if line.hasPrefix("Uptime_sec: ") { age = Int(line.dropFirst(12)) }
        }
        return .alive(connections: connections, age: age.map(Double.init))
    }
}

// MARK: - Reading

extension MasterReply {
    /// One line of `show proc`. The columns differ: up to 2.4 there is a relative pid, from 2.5 on the failed reloads.
    private struct Row {
        var pid: Int
        var type: Substring
        var reloads: Int
        var failed: Int?
        var uptime: Int
        var version: String

        init?(_ line: Substring) {
            var text = line
            // `[failed: 1]` after the reloads, `[was: 1]` in place of a relative pid.
            if let open = text.firstIndex(of: "["), let close = text[open...].firstIndex(of: "]") {
                let words = text[text.index(after: open)..<close].split(separator: " ")
                if words.first == "failed:", words.count == 2 { failed = Int(words[1]) }
                text.removeSubrange(open...close)
            }
            let words = text.split(separator: " ")
            guard words.count >= 4, let pid = Int(words[0]), pid > 0,
                let index = words.indices.dropFirst(3).first(where: { Self.seconds(words[$0]) != nil }),
                let uptime = Self.seconds(words[index]), let reloads = Int(words[index - 1]), reloads >= 0
            else { return nil }
            self.pid = pid
            type = words[1]
            self.reloads = reloads
            self.uptime = uptime
            version = index + 1 < words.count ? String(words[index + 1]) : ""
        }

        /// `1d02h03m04s`.
        private static func seconds(_ text: Substring) -> Int? {
            var (sum, rest) = (0, text)
            for (unit, size) in [("d", 86400), ("h", 3600), ("m", 60), ("s", 1)] as [(Character, Int)] {
                guard let end = rest.firstIndex(of: unit), let count = Int(rest[..<end]),
                    (0...9_999_999).contains(count)
                else { return nil }
                sum += count * size
                rest = rest[rest.index(after: end)...]
            }
            return rest.isEmpty ? sum : nil
        }
    }

    /// The lines of a complete reply, without the empty one at its end.
    private static func lines(of reply: String, to command: String) throws(CertsError) -> [Substring] {
        if reply.hasPrefix("Permission denied") { throw refused }
        if reply.hasPrefix("Unknown command") {
            throw CertsError(
                .targetUnexpectedReply, "this is not HAProxy's master socket: it does not know '\(command)'",
                hint: "name the socket that HAProxy was given with `-S`; a `stats socket` belongs to one worker")
        }
        guard reply.utf8.suffix(2).elementsEqual("\n\n".utf8) else {
            throw CertsError(
                .targetUnexpectedReply,
                reply.isEmpty
                    ? "HAProxy's master closed the connection without a reply"
                    : "the reply of HAProxy's master was cut off",
                hint: "look at HAProxy's log", retry: .later)
        }
        return reply.split(separator: "\n", omittingEmptySubsequences: true)
    }

    private static var refused: CertsError {
        CertsError(
            .targetRefused, "HAProxy's master refused: permission denied",
            hint: "start it with `-S PATH,mode,600,level,operator`, or without a level")
    }

    private static func unexpected(_ command: String, _ reply: String) -> CertsError {
        let lines = reply.split(separator: "\n", omittingEmptySubsequences: true).prefix(3).joined(separator: " ")
        return CertsError(
            .targetUnexpectedReply,
            "HAProxy's master answered '\(command)' with '\(TerminalText.sanitized(lines, limit: 300))'",
            hint: "check that the socket is the one that HAProxy was given with `-S`")
    }
}
