import CertsCore
import Foundation
import Yams

/// Turns the YAML tree into declarations; goes on after a problem, so that every problem is found.
struct ConfigurationReader {
    /// The directory of the file, absolute.
    let base: String
    let problems: ConfigurationProblems
    /// Everything that has a name, with its place, for the checks of references.
    var issuers: [Located<IssuerDeclaration>] = []
    var certificates: [CertificateSource] = []
    var targets: [TargetSource] = []
    /// The names that are written, also of items that have problems of their own: a reference to one of those is not a
    /// dangling one.
    var issuerNames: [String: Mark?] = [:]
    var certificateNames: [String: Mark?] = [:]
    var targetNames: [String: Mark?] = [:]
    var channelNames: [String: Mark?] = [:]

    /// A certificate and the places of its references.
    struct CertificateSource {
        var declaration: CertificateDeclaration
        var mark: Mark?
        var targetMarks: [Mark?]
        /// The type of window that it names.
        var window: Located<String>?
    }

    /// A target and the places that the checks point to.
    struct TargetSource {
        var declaration: TargetDeclaration
        var mark: Mark?
        var nodes: [NodeSource]
    }

    struct NodeSource {
        var declaration: NodeDeclaration
        var bundleMark: Mark?
        var loadedMark: Mark?
        var endpointMarks: [Mark?]
    }

    init(base: String, problems: ConfigurationProblems) {
        self.base = base
        self.problems = problems
    }

    /// `nil` if nothing could be made of the tree; otherwise the declarations, valid only if there are no problems.
    mutating func read(_ root: Node) -> Declarations? {
        let keys = [
            "version", "state", "issuers", "certificates", "targets", "server", "schedule", "notifications", "watch",
            "endpoints", "maintenance",
        ]
        guard let top = ConfigurationBlock(root, "the configuration", keys: keys, problems) else { return nil }
        checkVersion(top)
        readIssuers(top)
        // Targets before certificates: a certificate refers to both.
        readTargets(top)
        readCertificates(top)
        checkReferences()
        let maintenance = maintenance(top)
        bindCertificates(to: maintenance.windows)
        let server = server(top)
        checkListeners(server)
        let notifications = notifications(top)
        let state = top.text("state")
        var schedule = schedule(top)
        // Where a job rotates what is due, its times are those of the timer.
        for job in maintenance.jobs where job.work == .renewCertificates {
            let gap = min(30 * 86400, job.schedule.longestGap(after: Date()))
            schedule.timerInterval = max(schedule.timerInterval, gap)
        }
        return Declarations(
            stateDirectory: path(state ?? Located(value: "./state", mark: top.mark)) ?? base,
            issuers: issuers.map(\.value),
            certificates: certificates.map(\.declaration), targets: targets.map(\.declaration), server: server,
            schedule: schedule, notifications: notifications, watch: watch(top),
            maintenance: maintenance)
    }

    private func checkVersion(_ top: ConfigurationBlock) {
        guard top.node("version") != nil else {
            return top.missing("version", "write 'version: \(ConfigurationFile.version)' on the first line")
        }
        if let text = top.text("version"), text.value != String(ConfigurationFile.version) {
            problems.add(
                text.mark, "version '\(text.value)' of the format is not known to this program",
                "write 'version: \(ConfigurationFile.version)', or use the release that the file was written for")
        }
    }

    private func server(_ top: ConfigurationBlock) -> ServerDeclaration {
        guard let block = top.block("server", keys: ["listen"]), let listen = block.text("listen") else {
            return .init()
        }
        if let server = ConfigurationValue.listener(listen.value) { return server }
        problems.add(
            listen.mark, "'\(listen.value)' is not an address to listen on",
            "write ADDRESS:PORT: 127.0.0.1:9219 for this host only, 0.0.0.0:9219 for all interfaces, [::1]:9219 for IPv6"
        )
        return .init()
    }

    static let scheduleKeys = ["tick", "jitter", "timer", "concurrency", "scan", "probe"]

    private func schedule(_ top: ConfigurationBlock) -> ScheduleDeclaration {
        var schedule = ScheduleDeclaration()
        guard let block = top.block("schedule", keys: Self.scheduleKeys) else {
            return schedule
        }
        if let tick = block.duration("tick", 1...30 * 86400) { schedule.tick = tick }
        if let jitter = block.duration("jitter", 0...86400) { schedule.jitter = jitter }
        if let timer = block.duration("timer", 60...30 * 86400) { schedule.timerInterval = timer }
        if let concurrency = block.integer("concurrency", 1...64) { schedule.concurrency = concurrency }
        return schedule
    }

    /// A path from the file as an absolute one.
    func path(_ text: Located<String>) -> String? {
        guard text.value.utf8.count <= 4095, text.value != "~", !text.value.hasPrefix("~/") else {
            problems.add(
                text.mark, "'\(TerminalText.sanitized(text.value, limit: 80))' is not a path that certs can use",
                "write it absolute or relative to this file; '~' is not expanded")
            return nil
        }
        let isAbsolute = text.value.hasPrefix("/")
        let parts = (isAbsolute ? text.value : "\(base)/\(text.value)").split(separator: "/").filter { $0 != "." }
        // `..` stays: to take it out is wrong behind a symbolic link.
        return "/" + parts.joined(separator: "/") + (text.value.hasSuffix("/") && !parts.isEmpty ? "/" : "")
    }

    /// The name of an item, checked, and recorded in `names`.
    mutating func declare(
        _ text: Located<String>?, _ what: String, in names: WritableKeyPath<ConfigurationReader, [String: Mark?]>
    ) -> Name? {
        guard let text else { return nil }
        if let first = self[keyPath: names][text.value] {
            let place = first.map { " (first in line \($0.line))" } ?? ""
            problems.add(
                text.mark, "a second \(what) named '\(text.value)'\(place)", "give each \(what) a name of its own")
            return nil
        }
        self[keyPath: names].updateValue(text.mark, forKey: text.value)
        do {
            return try Name(text.value)
        } catch {
            problems.add(text.mark, "\(error.message) for a \(what)", error.hint ?? "choose another")
            return nil
        }
    }

    /// A value of a closed set of words.
    func word<Choice: RawRepresentable & CaseIterable>(_ text: Located<String>, _ what: String, _: Choice.Type)
        -> Choice?
    where Choice.RawValue == String {
        if let choice = Choice(rawValue: text.value) { return choice }
        let known = Choice.allCases.map(\.rawValue)
        problems.add(text.mark, "'\(text.value)' is not \(what)", remedy(for: text.value, known))
        return nil
    }

    func remedy(for word: String, _ known: [String]) -> String {
        let list = known.isEmpty ? "there are none" : "known: \(known.joined(separator: ", "))"
        return Spelling.nearest(to: word, in: known).map { "did you mean '\($0)'? (\(list))" } ?? list
    }
}
