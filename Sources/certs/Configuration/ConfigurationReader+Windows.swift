import CertsCore
import CertsNotify
import Foundation
import Yams

// `windows:`, `admin:` and `prometheus:` of `maintenance:`.
extension ConfigurationReader {
    func windows(_ block: ConfigurationBlock) -> [WindowDeclaration] {
        guard let windows = block.block("windows", keys: WindowType.allCases.map(\.rawValue)) else { return [] }
        return WindowType.allCases.compactMap { type in
            guard
                let own = windows.block(
                    type.rawValue, keys: ["daily", "weekly", "cron", "zone", "duration", "verify"])
            else { return nil }
            var window = WindowDeclaration(type, duration: type.usualDuration, verify: programs(own, "verify"))
            if let duration = own.duration("duration", 60...7 * 86400) { window.duration = duration }
            let isTimed = ["daily", "weekly", "cron"].contains { own.node($0) != nil }
            if isTimed || type.usualRule != nil {
                window.schedule = jobSchedule(own, type.usualRule ?? .daily([120]))
                if window.duration == nil { own.missing("duration", "say how long it lasts: 2h") }
            } else if own.node("zone") != nil {
                problems.add(
                    own.mark("zone"), "\(own.what) has a zone and no time", "write 'weekly: sun 02:00', or leave it out"
                )
            }
            return window
        }
    }

    /// One argument vector, or a list of them.
    private func programs(_ block: ConfigurationBlock, _ key: String) -> [[String]] {
        guard let node = block.node(key) else { return [] }
        guard case .sequence(let list) = node, case .sequence? = list.first else {
            return programLine(block, key, "[/usr/local/bin/verify-maintenance]").map { [$0] } ?? []
        }
        return list.compactMap { line in
            guard
                let entry = ConfigurationBlock(
                    Node.mapping(Node.Mapping([(Node(key), line)])), block.what, keys: [key], problems)
            else { return nil }
            return programLine(entry, key, "[/usr/local/bin/verify-maintenance]")
        }
    }

    func admin(_ block: ConfigurationBlock) -> AdminDeclaration? {
        let keys = [
            "url", "tokenFile", "caFile", "announcements", "maintenance", "readMode", "severity", "message", "timeout",
        ]
        guard let admin = block.block("admin", keys: keys),
            let url = admin.requiredText("url", "write where the admin API is: http://127.0.0.1:8080").flatMap({
                serviceURL($0, "the url of the admin API")
            }), admin.requiredText("tokenFile", "name the file with the bearer token") != nil,
            let token = file(admin, "tokenFile")
        else { return nil }
        var result = AdminDeclaration(url: url, tokenFile: token, caFile: file(admin, "caFile"))
        if let path = urlPath(admin, "announcements") { result.announcements = path }
        if let path = urlPath(admin, "maintenance") { result.maintenance = path }
        if let reads = admin.flag("readMode") { result.readsMode = reads }
        if let severity = admin.text("severity") { result.severity = severity.value }
        if let message = admin.text("message") { result.message = message.value }
        if let timeout = admin.duration("timeout", 1...60) { result.timeout = timeout }
        return result
    }

    func prometheus(_ block: ConfigurationBlock) -> PrometheusDeclaration? {
        guard let own = block.block("prometheus", keys: ["url", "caFile", "selector"]),
            let url = own.requiredText("url", "write where it is: http://127.0.0.1:9090").flatMap({
                serviceURL($0, "the url of Prometheus")
            })
        else { return nil }
        var result = PrometheusDeclaration(url: url, caFile: file(own, "caFile"))
        if let selector = own.text("selector") { result.selector = selector.value }
        return result
    }

    func alertmanager(_ block: ConfigurationBlock) -> AlertmanagerDeclaration? {
        guard let own = block.block("alertmanager", keys: ["url", "caFile", "matchers"]),
            let url = own.requiredText("url", "write where it is: http://127.0.0.1:9093").flatMap({
                serviceURL($0, "the url of the Alertmanager")
            })
        else { return nil }
        var matchers: [String: String] = [:]
        for text in own.texts("matchers", "[job=messenger]") {
            let parts = text.value.split(separator: "=", maxSplits: 1).map(String.init)
            if parts.count == 2 {
                matchers[parts[0]] = parts[1]
            } else {
                problems.add(text.mark, "'\(text.value)' is not a label with its value", "write it like job=messenger")
            }
        }
        // Without one it would silence everything.
        if own.node("matchers") == nil { own.missing("matchers", "say which alerts: [job=messenger]") }
        return AlertmanagerDeclaration(url: url, caFile: file(own, "caFile"), matchers: matchers)
    }

    /// `https`, or `http` to this host; without a slash at its end.
    private func serviceURL(_ text: Located<String>, _ what: String) -> String? {
        let isPlain = text.value.lowercased().hasPrefix("http://") && WebhookChannel.isAllowed(text.value)
        guard isPlain || secureURL(text, what) != nil else { return nil }
        return text.value.hasSuffix("/") ? String(text.value.dropLast()) : text.value
    }

    private func urlPath(_ block: ConfigurationBlock, _ key: String) -> String? {
        guard let text = block.text(key) else { return nil }
        if text.value.hasPrefix("/"), text.value.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) { return text.value }
        problems.add(
            text.mark, "'\(text.value)' is not a path of an address", "write it like /api/v1/admin/maintenance")
        return nil
    }

    /// `window:` of the certificates: windows that come by their time, since nobody opens one for each renewal.
    mutating func bindCertificates(to windows: [WindowDeclaration]) {
        for index in certificates.indices {
            guard let text = certificates[index].window, let type = word(text, "a type of window", WindowType.self)
            else {
                continue
            }
            guard let window = windows.first(where: { $0.type == type }), window.schedule != nil else {
                let name = certificates[index].declaration.name
                problems.add(
                    text.mark, "the certificate '\(name)' waits for a \(type.rawValue) window, and none is planned",
                    "write 'windows: { standard: {} }' under `maintenance:`, and 'window: standard' here")
                continue
            }
            certificates[index].declaration.window = window
        }
    }

    /// `window:` of a job: without a time of its own it runs when the window begins.
    func bind(_ job: inout JobDeclaration, _ block: ConfigurationBlock, _ windows: [WindowDeclaration]) {
        guard let text = block.text("window"), let type = word(text, "a type of window", WindowType.self) else {
            return
        }
        guard let window = windows.first(where: { $0.type == type }) else {
            problems.add(
                text.mark, "\(block.what) needs a \(type.rawValue) window, and none is declared",
                "write 'windows: { \(type.rawValue): {} }' under `maintenance:`")
            return
        }
        job.window = type
        // It does not begin in the very moment in which its window does.
        if let duration = window.duration, job.deadline + job.schedule.jitter + 60 > duration {
            let most = max(60, duration - 60 - job.schedule.jitter)
            problems.add(
                block.mark("deadline"), "\(block.what) may take longer than its window is open",
                "write a deadline of at most \(ConfigurationValue.words(most))")
        }
        let hasTime = ["every", "daily", "weekly", "cron"].contains { block.node($0) != nil }
        if !hasTime, let schedule = window.schedule {
            (job.schedule.rule, job.schedule.zone) = (schedule.rule, schedule.zone)
        }
    }
}
