import CertsCore
import Foundation
import Yams

// `maintenance:`: the database, Redis, and the jobs.
extension ConfigurationReader {
    func maintenance(_ top: ConfigurationBlock) -> MaintenanceDeclaration {
        guard
            let block = top.block(
                "maintenance", keys: ["database", "redis", "jobs", "windows", "admin", "prometheus", "alertmanager"])
        else { return .init() }
        var declaration = MaintenanceDeclaration(database: database(block), redis: redis(block))
        declaration.windows = windows(block)
        declaration.admin = admin(block)
        declaration.prometheus = prometheus(block)
        declaration.alertmanager = alertmanager(block)
        var places: [String: Mark?] = [:]
        for (index, node) in block.list("jobs", "'- name: …'").enumerated() {
            guard let job = job(node, index, &places, declaration.windows) else { continue }
            declaration.jobs.append(job)
        }
        if declaration.jobs.contains(where: \.work.usesDatabase), block.node("database") == nil {
            block.missing("database", "say where: '{ host: /run/postgresql, name: messaging, user: certs }'")
        }
        checkBackups(declaration, block)
        checkRecords(declaration, block)
        if declaration.jobs.contains(where: \.work.usesRedis), block.node("redis") == nil {
            block.missing("redis", "say where: '{ address: \"127.0.0.1:6379\" }'")
        }
        return declaration
    }

    private func database(_ block: ConfigurationBlock) -> DatabaseDeclaration? {
        let keys = ["host", "port", "name", "user", "passwordFile", "tls", "caFile", "systemIdentifier"]
        guard let block = block.block("database", keys: keys) else { return nil }
        let host = block.requiredText("host", "write the directory of its socket (/run/postgresql), or its name")
        let name = block.requiredText("name", "write the name of the database")
        let user = block.requiredText("user", "write the role that the jobs work as; not a superuser")
        guard let host, let name, let user else { return nil }
        var declaration = DatabaseDeclaration(
            host: host.value, port: block.integer("port", 1...65535) ?? 5432, name: name.value, user: user.value,
            passwordFile: block.text("passwordFile").flatMap { path($0) },
            caFile: block.text("caFile").flatMap { path($0) },
            systemIdentifier: block.text("systemIdentifier")?.value)
        declaration.tls =
            block.text("tls").flatMap { word($0, "a way to use TLS", DatabaseDeclaration.TLSMode.self) }
            ?? (declaration.isLocal ? .disable : .verifyFull)
        if declaration.tls == .verifyFull || declaration.tls == .verifyCA, declaration.caFile == nil,
            !declaration.isLocal
        {
            block.missing("caFile", "name the file with the CA of the server's certificate")
        }
        if declaration.tls == .disable, !declaration.isLocal {
            problems.add(
                block.mark("tls"), "'\(host.value)' would be reached without TLS",
                "write 'tls: verify-full' and a caFile")
        }
        return declaration
    }

    private func redis(_ block: ConfigurationBlock) -> RedisDeclaration? {
        guard let block = block.block("redis", keys: ["address", "passwordFile"]),
            let address = block.requiredText("address", "write ADDRESS:PORT")
        else { return nil }
        guard let endpoint = ConfigurationValue.endpoint(address.value) else {
            problems.add(address.mark, "'\(address.value)' is not an address", "write it like 127.0.0.1:6379")
            return nil
        }
        guard Loopback.contains(endpoint.host) else {
            problems.add(
                address.mark, "'\(address.value)' would be reached without TLS, password and all",
                "name a Redis on this host, or a tunnel to it such as stunnel")
            return nil
        }
        return RedisDeclaration(
            host: endpoint.host, port: endpoint.port, passwordFile: block.text("passwordFile").flatMap { path($0) })
    }

    /// Jobs that keep one record for the whole host: two of them would take what the other one keeps.
    private func checkRecords(_ declaration: MaintenanceDeclaration, _ block: ConfigurationBlock) {
        var versions: [JobDeclaration] = []
        var deployments: [JobDeclaration] = []
        for job in declaration.jobs {
            if case .host(.keepVersions) = job.work { versions.append(job) }
            if case .host(.recordDeployments) = job.work { deployments.append(job) }
        }
        for (jobs, kind) in [(versions, "file-versions"), (deployments, "deployment-journal")] where jobs.count > 1 {
            problems.add(
                block.mark("jobs"), "'\(jobs[0].name)' and '\(jobs[1].name)' are both of kind \(kind)",
                "declare one job of this kind for all of them")
        }
    }

    // MARK: - Jobs

    private static let commonKeys = [
        "name", "kind", "every", "daily", "weekly", "cron", "zone", "jitter", "catchUp", "catchUpWithin", "catchUpMost",
        "overlap", "deadline", "retries", "retryAfter", "window",
    ]

    private func job(
        _ node: Node, _ index: Int, _ places: inout [String: Mark?], _ windows: [WindowDeclaration]
    ) -> JobDeclaration? {
        let what = Self.what(node, "job", index)
        guard let kind = typeWord(node, what, JobKind.self, "a kind of job", key: "kind"),
            let block = ConfigurationBlock(node, what, keys: Self.commonKeys + kind.keys, problems),
            let nameText = block.requiredText("name", "give it a name such as 'disappearing-messages'")
        else { return nil }
        if let first = places[nameText.value] {
            problems.add(
                nameText.mark,
                "a second job named '\(nameText.value)'\(first.map { " (first in line \($0.line))" } ?? "")",
                "give each job a name of its own")
            return nil
        }
        places.updateValue(nameText.mark, forKey: nameText.value)
        let name: Name
        do {
            name = try Name(nameText.value)
        } catch {
            problems.add(nameText.mark, "\(error.message) for a job", error.hint ?? "choose another")
            return nil
        }
        let schedule = jobSchedule(block, kind.rule)
        guard let work = jobWork(kind, block) else { return nil }
        var job = JobDeclaration(name: name, work: work, schedule: schedule, catchUp: catchUp(block))
        if let text = block.text("overlap"), let overlap = word(text, "a rule for overlaps", Overlap.self) {
            job.overlap = overlap
        }
        if let deadline = block.duration("deadline", 1...7 * 86400) ?? kind.deadline { job.deadline = deadline }
        if let retries = block.integer("retries", 0...10) { job.retries = retries }
        if let pause = block.duration("retryAfter", 1...86400) { job.retryAfter = pause }
        bind(&job, block, windows)
        return job
    }

    private func catchUp(_ block: ConfigurationBlock) -> CatchUp {
        let within = block.duration("catchUpWithin", 0...366 * 86400) ?? 86400
        let most = block.integer("catchUpMost", 1...1000) ?? 10
        guard let text = block.text("catchUp") else { return .latest(within: within) }
        switch text.value {
        case "latest": return .latest(within: within)
        case "none": return .none
        case "all": return .all(most)
        default:
            problems.add(
                text.mark, "'\(text.value)' is not a way to catch up",
                remedy(for: text.value, ["latest", "none", "all"]))
            return .none
        }
    }

    func jobSchedule(_ block: ConfigurationBlock, _ usual: JobSchedule.Rule) -> JobSchedule {
        var schedule = JobSchedule(usual)
        let given = ["every", "daily", "weekly", "cron"].filter { block.node($0) != nil }
        if given.count > 1 {
            problems.add(
                block.mark(given[1]), "\(block.what) has '\(given[0])' and '\(given[1])'", "write one of them")
        }
        switch given.first {
        case "every":
            if let seconds = block.duration("every", 1...366 * 86400) { schedule.rule = .every(seconds) }
        case "daily":
            let times = texts(block, "daily").compactMap { timeOfDay($0) }
            if !times.isEmpty { schedule.rule = .daily(times) }
        case "weekly": if let rule = block.text("weekly").flatMap({ weekly($0) }) { schedule.rule = rule }
        case "cron":
            guard let text = block.text("cron") else { break }
            do {
                schedule.rule = .cron(try CronExpression(text.value))
            } catch {
                problems.add(text.mark, error.message, error.hint ?? "correct it")
            }
        default: break
        }
        if let zone = block.text("zone") {
            if let found = TimeZone(identifier: zone.value), zone.value == "UTC" || zone.value.contains("/") {
                schedule.zone = found
            } else {
                problems.add(zone.mark, "there is no time zone '\(zone.value)'", "write it like Europe/Berlin, or UTC")
            }
        }
        if let jitter = block.duration("jitter", 0...86400) { schedule.jitter = jitter }
        return schedule
    }

    /// A text, or a list of them.
    private func texts(_ block: ConfigurationBlock, _ key: String) -> [Located<String>] {
        if case .sequence? = block.node(key) { return block.texts(key) }
        return block.text(key).map { [$0] } ?? []
    }

    /// Minutes since midnight of `02:30`.
    private func timeOfDay(_ text: Located<String>) -> Int? {
        if let minute = ConfigurationValue.minuteOfDay(text.value) { return minute }
        problems.add(text.mark, "'\(text.value)' is not a time of day", "write it in quotes, like \"02:30\"")
        return nil
    }

    /// `sun 03:00`, `mon,thu 22:15`.
    private func weekly(_ text: Located<String>) -> JobSchedule.Rule? {
        let names = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
        let words = text.value.split(separator: " ").map(String.init)
        let days = words.first?.split(separator: ",").map { names.firstIndex(of: $0.lowercased()) } ?? []
        guard words.count == 2, !days.isEmpty, !days.contains(nil) else {
            problems.add(
                text.mark, "'\(text.value)' is not a day and a time", "write it like 'sun 03:00' or 'mon,thu 22:15'")
            return nil
        }
        return timeOfDay(Located(value: words[1], mark: text.mark)).map { .weekly(Set(days.compactMap { $0 }), $0) }
    }
}
