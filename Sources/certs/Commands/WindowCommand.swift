import ArgumentParser
import CertsCore
import CertsEngine
import CertsMaintenance
import CertsStore
import Foundation
import Synchronization

struct WindowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "window", abstract: "Maintenance windows: when they are, and what is done in them.",
        subcommands: [
            WindowListCommand.self, WindowStatusCommand.self, WindowOpenCommand.self, WindowCloseCommand.self,
        ])
}

extension WindowType: ExpressibleByArgument {}

struct WindowListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "The declared windows, their calendar, and the jobs that wait for them.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: OutputOptions
    @Option(help: "How many of the next windows of each type.")
    var count = 3

    struct Span: Encodable {
        let start: Date
        let end: Date

        init(_ window: DateInterval) { (start, end) = (window.start, window.end) }
    }

    struct Item: Encodable {
        let type: String
        /// `null`: as needed.
        @OrNull var schedule: String?
        @OrNull var zone: String?
        @OrNull var durationSeconds: Int?
        let isOpen: Bool
        let next: [Span]
        let jobs: [String]
    }

    struct Document: Encodable {
        let schema = 1
        let windows: [Item]
    }

    func validate() throws {
        guard (1...100).contains(count) else { throw ValidationError("--count takes a number from 1 to 100") }
    }

    func run() async throws {
        let assembly = try await Assembly.forMaintenance(global)
        let maintenance = assembly.declarations.maintenance
        let now = Date()
        let open = try await assembly.database.openWindows()
        let items = maintenance.windows.map { window in
            var next: [Span] = []
            var date = now
            while next.count < count, let found = window.next(after: date) {
                next.append(Span(found))
                date = found.start
            }
            return Item(
                type: window.type.rawValue, schedule: window.schedule?.rule.description,
                zone: (window.schedule?.zone).map(Time.name), durationSeconds: window.duration.map { Int($0) },
                isOpen: open.contains { $0.type == window.type } || window.occurrence(at: now) != nil, next: next,
                jobs: maintenance.jobs.filter { $0.window == window.type }.map(\.name.rawValue))
        }
        try Listing(
            document: Document(windows: items), items: items,
            columns: [
                Column("type") { $0.type }, Column("schedule") { $0.schedule ?? "as needed" },
                Column("zone") { $0.zone ?? "-" },
                Column("duration") { item in
                    item.durationSeconds.map { ConfigurationValue.words(TimeInterval($0)) } ?? "as said"
                },
                Column("open") { $0.isOpen ? "yes" : "no" },
                Column("next") { $0.next.map { Time.text($0.start) }.joined(separator: " ") },
                Column("jobs") { $0.jobs.joined(separator: " ") },
            ]
        ).print(output.output)
    }
}

struct WindowStatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "The maintenance mode, and the windows that were opened, newest first.",
        discussion: "With -o json also what happened in them.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: OutputOptions
    @Option(help: "How many windows.")
    var limit = 10

    struct Event: Encodable {
        let at: Date
        let step: String
        let result: String
        let subject: String
        let detail: String

        init(_ event: WindowEvent) {
            (at, step, result) = (event.at, event.step.rawValue, event.result.rawValue)
            (subject, detail) = (event.subject, event.detail)
        }
    }

    struct Item: Encodable {
        let id: String
        let type: String
        @OrNull var plannedAt: Date?
        let openedAt: Date
        let endsAt: Date
        @OrNull var closedAt: Date?
        let overrunSeconds: Int
        let openedBy: String
        let source: String
        let events: [Event]

        init(_ window: WindowRecord, _ events: [WindowEvent], now: Date) {
            (id, type, openedAt, endsAt) = (window.id, window.type.rawValue, window.openedAt, window.endsAt)
            (openedBy, source) = (window.openedBy, window.source.rawValue)
            overrunSeconds = Int(window.overrun(at: now))
            self.events = events.map(Event.init)
            _plannedAt = OrNull(wrappedValue: window.plannedAt)
            _closedAt = OrNull(wrappedValue: window.closedAt)
        }
    }

    struct Mode: Encodable {
        let window: String
        let mustBeOffBy: Date
    }

    struct Document: Encodable {
        let schema = 1
        /// Held by us; `null`: it is not.
        @OrNull var maintenanceMode: Mode?
        let windows: [Item]
    }

    func validate() throws {
        guard (1...10_000).contains(limit) else { throw ValidationError("--limit takes a number from 1 to 10000") }
    }

    func run() async throws {
        let assembly = try await Assembly.forMaintenance(global)
        let lease = try await assembly.database.lease()
        let now = Date()
        var items: [Item] = []
        for window in try await assembly.database.windows(limit: limit) {
            items.append(Item(window, try await assembly.database.events(of: window.id), now: now))
        }
        try Listing(
            document: Document(
                maintenanceMode: lease.map { Mode(window: $0.window, mustBeOffBy: $0.mustBeOffBy) }, windows: items),
            items: items,
            columns: [
                Column("window") { $0.id }, Column("opened") { Time.text($0.openedAt) },
                Column("ends") { Time.text($0.endsAt) },
                Column("closed") { $0.closedAt.map { Time.text($0) } ?? "open" },
                Column("overrun", isNumber: true) { "\($0.overrunSeconds) s" }, Column("by") { $0.openedBy },
                Column("failed", isNumber: true) { item in String(item.events.count { $0.result == "failed" }) },
            ]
        ).print(output.output)
        if let lease {
            Terminal.note(
                "the maintenance mode is on for \(lease.window), until \(Time.text(lease.mustBeOffBy)) at most")
        }
    }
}

struct WindowOpenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "open",
        abstract: "Open a window: tell the users, switch the maintenance mode on, run the jobs, verify, switch it off.",
        discussion: """
            The jobs are those with `window: TYPE`, in their order. Ctrl-C ends the job that runs, and the rest of the way \
            is gone. Exit codes: 0 done; 1 failed, or the mode may still be on; 3 a job or a check failed; 5 refused.
            """)

    @OptionGroup var global: GlobalOptions
    @Argument(help: "emergency, standard, major or security.")
    var type: WindowType
    @Option(name: .customLong("for"), help: "How long it lasts: 2h, 30m. [default: its planned end, or its duration]")
    var length: String?
    @Option(help: "What the users are told. [default: when it begins and ends]")
    var message: String?
    @Flag(name: .customLong("no-tasks"), help: "For work by hand: it is open until `certs window close`.")
    var isByHand = false
    @Flag(name: .customLong("no-mode"), help: "Without the announcement and the maintenance mode.")
    var isWithoutMode = false

    func validate() throws {
        if let length, !(60...7 * 86400).contains(ConfigurationValue.duration(length) ?? 0) {
            throw ValidationError("--for takes a duration from 1m to 7d, such as 2h")
        }
    }

    func run() async throws {
        let interrupt = JobInterrupt()
        let signals = WindowSignals(interrupt)
        defer { signals.end() }
        let assembly = try await Assembly.forMaintenance(global)
        let request = WindowProcedure.Request(
            type, length: length.flatMap { ConfigurationValue.duration($0) }, message: message, runsTasks: !isByHand,
            usesAdmin: !isWithoutMode, openedBy: Assembly.operatorName)
        let window = try await assembly.windowProcedure(report: WindowSignals.tell).open(request, interrupt: interrupt)
        if isByHand {
            let end = Time.text(window.endsAt)
            Terminal.note("\(window.id) is open until \(end); the maintenance mode goes off then at the latest")
            return Terminal.note("when the work is done: certs window close")
        }
        try await WindowSignals.conclude(window, assembly)
    }
}

struct WindowCloseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "close", abstract: "Close the window that was opened by hand: verify, and switch the mode off.")

    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let assembly = try await Assembly.forMaintenance(global)
        let window = try await assembly.windowProcedure(report: WindowSignals.tell).close()
        try await WindowSignals.conclude(window, assembly)
    }
}

/// Ctrl-C and SIGTERM while a window is open: the mode must go off all the same.
private struct WindowSignals {
    private static let isAsked = Atomic(false)
    private let watch: Task<Void, any Error>

    init(_ interrupt: JobInterrupt) {
        // Made before the first signal: a handler must not initialise anything (signal-safety(7)).
        Self.isAsked.store(false, ordering: .relaxed)
        // Handlers, and not SIG_IGN, which the programs of the jobs would inherit.
        for number in [SIGINT, SIGTERM] {
            signal(number) { _ in
                let text: StaticString = "\nno further job is begun; the maintenance mode is switched off first\n"
                _ = write(STDERR_FILENO, text.utf8Start, text.utf8CodeUnitCount)
                WindowSignals.isAsked.store(true, ordering: .relaxed)
            }
        }
        watch = Task {
            while !Self.isAsked.load(ordering: .relaxed) { try await Task.sleep(for: .milliseconds(100)) }
            interrupt.set()
        }
    }

    func end() { watch.cancel() }

    /// A line for each step.
    @Sendable static func tell(_ event: WindowEvent) {
        let words = [event.step.rawValue, event.result.rawValue, event.subject, event.detail].filter { !$0.isEmpty }
        Terminal.note(TerminalText.sanitized(words.joined(separator: "  ")))
    }

    static func conclude(_ window: WindowRecord, _ assembly: Assembly) async throws {
        let overrun = Int(window.overrun(at: Date()))
        Terminal.note("\(window.id) is closed\(overrun > 0 ? ", \(overrun) s after its end" : "")")
        Terminal.note("its log: certs maintenance report log --window \(window.id)")
        let events = try await assembly.database.events(of: window.id)
        let left = events.contains { $0.result == .failed || ($0.result == .skipped && $0.step == .task) }
        if left { throw ExitStatus.partly }
    }
}
