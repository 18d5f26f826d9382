import CertsCore
import Foundation
import Yams

// What is only watched: directories and endpoints of others.
extension ConfigurationReader {
    private static let directoryKeys = ["name", "directory", "recursive", "passphraseFile"]
    private static let scheduleBounds = (scan: 1.0...86400.0, probe: 5.0...7 * 86400.0)

    func watch(_ top: ConfigurationBlock) -> WatchDeclaration {
        var watch = WatchDeclaration()
        for (index, node) in top.list("watch", "'- { name: legacy, directory: /etc/ssl/legacy }'").enumerated() {
            let what = Self.what(node, "watched directory", index)
            guard let block = ConfigurationBlock(node, what, keys: Self.directoryKeys, problems),
                let directory = directory(block, besides: watch.directories)
            else { continue }
            watch.directories.append(directory)
        }
        for node in top.list("endpoints", "'- { address: www.example.com:443 }'") {
            guard
                let block = ConfigurationBlock(node, "a watched endpoint", keys: ["address", "serverName"], problems),
                let endpoint = watchedEndpoint(block, besides: watch.endpoints)
            else { continue }
            watch.endpoints.append(endpoint)
        }
        if let schedule = top.block("schedule", keys: Self.scheduleKeys) {
            watch.scanInterval = schedule.duration("scan", Self.scheduleBounds.scan) ?? watch.scanInterval
            watch.probeInterval = schedule.duration("probe", Self.scheduleBounds.probe) ?? watch.probeInterval
        }
        return watch
    }

    private func directory(_ block: ConfigurationBlock, besides others: [WatchedDirectory]) -> WatchedDirectory? {
        let name = watchName(block, besides: others)
        let isRecursive = block.flag("recursive") ?? true
        let passphrase = block.text("passphraseFile").flatMap { path($0) }
        guard let text = block.requiredText("directory", "write the directory whose certificates are watched"),
            var path = path(text)
        else { return nil }
        if path.utf8.count > 1, path.hasSuffix("/") { path.removeLast() }
        guard let name else { return nil }
        let directory = WatchedDirectory(
            name: name, path: path, isRecursive: isRecursive, passphraseFile: passphrase)
        // A file in two of them would be exported under two names.
        if let other = others.first(where: { Self.overlap($0, directory) }) {
            problems.add(
                text.mark, "\(path) and \(other.path) of '\(other.name)' have files in common",
                "watch the outer one alone, or write 'recursive: false' there")
            return nil
        }
        return directory
    }

    private func watchName(_ block: ConfigurationBlock, besides others: [WatchedDirectory]) -> Name? {
        guard let text = block.requiredText("name", "give it a name such as 'legacy'") else { return nil }
        do {
            let name = try Name(text.value)
            guard !WatchDeclaration.reservedNames.contains(name.rawValue) else {
                problems.add(text.mark, "'\(name)' is the name of another source", "choose another")
                return nil
            }
            guard !others.contains(where: { $0.name == name }) else {
                problems.add(
                    text.mark, "a second watched directory named '\(name)'", "give each directory a name of its own")
                return nil
            }
            return name
        } catch {
            problems.add(text.mark, "\(error.message) for a watched directory", error.hint ?? "choose another")
            return nil
        }
    }

    private static func overlap(_ first: WatchedDirectory, _ second: WatchedDirectory) -> Bool {
        first.path == second.path || (first.isRecursive && first.covers(second.path))
            || (second.isRecursive && second.covers(first.path))
    }

    private func watchedEndpoint(
        _ block: ConfigurationBlock, besides others: [WatchedEndpoint]
    ) -> WatchedEndpoint? {
        guard let text = block.requiredText("address", "write HOST:PORT, e.g. www.example.com:443") else { return nil }
        guard var endpoint = ConfigurationValue.endpoint(text.value) else {
            problems.add(
                text.mark, "'\(TerminalText.sanitized(text.value, limit: 80))' is not an address to connect to",
                "write HOST:PORT, e.g. www.example.com:443, 192.0.2.7:8443 or [2001:db8::7]:443")
            return nil
        }
        if let name = block.text("serverName") {
            do {
                endpoint.serverName = try DNSName.canonical(name.value)
            } catch {
                problems.add(name.mark, error.message, error.hint ?? "correct it")
                return nil
            }
        }
        let watched = WatchedEndpoint(endpoint)
        guard !others.contains(watched) else {
            problems.add(text.mark, "\(watched.label) is watched twice", "leave one of them out")
            return nil
        }
        return watched
    }
}
