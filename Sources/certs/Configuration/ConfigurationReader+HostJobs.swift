import CertsCore
import Foundation
import Yams

// The kinds of jobs that work on this host: what they take beside the keys of all jobs.

extension JobKind {
    var hostKeys: [String] {
        switch self {
        case .dockerPrune: ["engine", "after", "keepDeployments", "volumes", "maximum"]
        case .logRotation: ["configuration"]
        case .oldFiles: ["root", "patterns", "after", "keep", "maximumFiles", "maximumShare", "openFilesUnknown"]
        case .updateReport: ["refresh", "packages", "engine", "goModules"]
        case .deploymentJournal: ["engine", "keep", "healthyAfter", "healthyWithin"]
        case .fileVersions: ["files", "keep"]
        default: []
        }
    }

    /// When it runs if nothing else is written.
    var hostRule: JobSchedule.Rule {
        switch self {
        case .deploymentJournal: .every(600)
        case .fileVersions: .every(300)
        case .updateReport: .daily([300])
        default: .daily([180])
        }
    }
}

extension ConfigurationReader {
    func hostJob(_ kind: JobKind, _ block: ConfigurationBlock) -> HostJob? {
        switch kind {
        case .dockerPrune: dockerCleanUp(block)
        case .logRotation:
            block.requiredText("configuration", "name the configuration of logrotate: /etc/logrotate.d/messenger")
                .flatMap { path($0) }.map { .rotateLogs(LogRotation(configuration: $0)) }
        case .oldFiles: fileCleanUp(block)
        case .updateReport: updateCheck(block)
        case .deploymentJournal: deploymentRecording(block)
        case .fileVersions: fileVersioning(block)
        default: nil
        }
    }

    private func engine(_ block: ConfigurationBlock) -> String? { block.text("engine").flatMap { path($0) } }

    private func dockerCleanUp(_ block: ConfigurationBlock) -> HostJob {
        var work = DockerCleanUp()
        if let socket = engine(block) { work.engineSocket = socket }
        if let age = block.duration("after", 3600...3650 * 86400) { work.age = age }
        if let kept = block.integer("keepDeployments", 1...1000) { work.keptDeployments = kept }
        if let limit = block.integer("maximum", 1...1_000_000) { work.limit = limit }
        work.volumeLabels = block.texts("volumes", "[com.example.scratch, tier=temporary]").map(\.value)
        return .cleanUpDocker(work)
    }

    private func fileCleanUp(_ block: ConfigurationBlock) -> HostJob? {
        guard let root = block.requiredText("root", "name the directory: /var/log/messenger").flatMap({ path($0) })
        else { return nil }
        var work = FileCleanUp(root: root)
        let patterns = block.texts("patterns", "['*.log.*', '*.gz']")
        for pattern in patterns where pattern.value.contains("/") {
            problems.add(
                pattern.mark, "'\(pattern.value)' has a slash: a pattern is of a file name", "write it like '*.log.*'")
        }
        if !patterns.isEmpty { work.patterns = patterns.map(\.value) }
        if let age = block.duration("after", 3600...3650 * 86400) { work.age = age }
        if let kept = block.integer("keep", 0...100_000) { work.kept = kept }
        if let limit = block.integer("maximumFiles", 1...2_000_000) { work.limit = limit }
        if let percent = block.integer("maximumShare", 1...100) { work.share = Double(percent) / 100 }
        if let text = block.text("openFilesUnknown") {
            switch text.value {
            case "allow": work.allowsUnknownOpenFiles = true
            case "refuse": work.allowsUnknownOpenFiles = false
            default: problems.add(text.mark, "'\(text.value)' is not an answer", "write refuse or allow")
            }
        }
        return .deleteFiles(work)
    }

    private func updateCheck(_ block: ConfigurationBlock) -> HostJob {
        .reportUpdates(
            UpdateCheck(
                refreshesLists: block.flag("refresh") ?? false, packages: block.flag("packages") ?? true,
                engineSocket: engine(block), goModules: block.texts("goModules", "[/srv/app]").compactMap { path($0) }))
    }

    private func deploymentRecording(_ block: ConfigurationBlock) -> HostJob {
        var work = DeploymentRecording()
        if let socket = engine(block) { work.engineSocket = socket }
        if let kept = block.integer("keep", 2...1000) { work.kept = kept }
        if let after = block.duration("healthyAfter", 1...3600) { work.healthyAfter = after }
        if let within = block.duration("healthyWithin", 1...86400) { work.healthyWithin = within }
        if work.healthyWithin <= work.healthyAfter {
            problems.add(
                block.mark("healthyWithin"), "'healthyWithin' of \(block.what) is not longer than 'healthyAfter'",
                "write a longer time")
        }
        return .recordDeployments(work)
    }

    private func fileVersioning(_ block: ConfigurationBlock) -> HostJob? {
        var work = FileVersioning(files: [])
        for node in block.list("files", "'[ { path: /etc/haproxy/haproxy.cfg } ]'") {
            guard
                let entry = ConfigurationBlock(
                    node, "an entry of files", keys: ["path", "validate", "reload"], problems),
                let path = entry.requiredText("path", "name the file").flatMap({ self.path($0) })
            else { continue }
            var file = FileVersioning.File(path: path)
            if entry.node("validate") != nil {
                file.validate = programLine(entry, "validate", "[haproxy, -c, -f, /etc/haproxy/haproxy.cfg]")
            }
            if entry.node("reload") != nil {
                file.reload = programLine(entry, "reload", "[systemctl, reload, haproxy]")
            }
            work.files.append(file)
        }
        guard !work.files.isEmpty else {
            block.missing("files", "name them: '[ { path: /etc/haproxy/haproxy.cfg } ]'")
            return nil
        }
        if let kept = block.integer("keep", 1...1000) { work.kept = kept }
        return .keepVersions(work)
    }
}
