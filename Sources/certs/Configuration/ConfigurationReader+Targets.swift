import CertsCore
import CertsHAProxy
import Foundation
import Yams

extension ConfigurationReader {
    private static let nodeKeys = [
        "bundle", "loadedAs", "reload", "fallback", "list", "endpoints", "verifyWithin", "validate",
    ]

    mutating func readTargets(_ top: ConfigurationBlock) {
        let keys = ["name", "type", "nodes", "waves"] + Self.nodeKeys
        for (index, node) in top.list("targets", "'- name: …'").enumerated() {
            let nameNode = node.mapping?.first { $0.key.scalar?.string == "name" }?.value.scalar
            let what = nameNode.map { "target '\($0.string)'" } ?? "target \(index + 1)"
            guard let block = ConfigurationBlock(node, what, keys: keys, problems) else { continue }
            readTarget(block)
        }
    }

    private mutating func readTarget(_ block: ConfigurationBlock) {
        let nameText = block.requiredText("name", "give it a name such as 'loadbalancer'")
        let name = declare(nameText, "target", in: \.targetNames)
        if let type = block.requiredText("type", "write 'type: haproxy'"), type.value != "haproxy" {
            problems.add(type.mark, "'\(type.value)' is not a type of target", "write 'type: haproxy'")
        }
        let waves = waves(block)
        guard block.node("nodes") != nil else {
            if block.node("waves") != nil {
                problems.add(
                    block.mark("waves"), "\(block.what) has waves but no nodes", "list its 'nodes', or leave waves out")
            }
            guard let source = readNode(block, NodeID(name ?? Self.unnamed), inheriting: nil), let name else { return }
            targets.append(
                TargetSource(
                    declaration: TargetDeclaration(name: name, nodes: [source.declaration]), mark: block.mark,
                    nodes: [source]))
            return
        }
        let sources = readNodes(block, name)
        guard let name, !sources.isEmpty else { return }
        targets.append(
            TargetSource(
                declaration: TargetDeclaration(name: name, nodes: sources.map(\.declaration), waves: waves),
                mark: block.mark, nodes: sources))
    }

    /// Stands in where the name is missing or wrong, so that the rest is still checked.
    private static let unnamed: Name = {
        guard let name = try? Name("target") else { preconditionFailure("a constant") }
        return name
    }()

    private mutating func readNodes(_ block: ConfigurationBlock, _ target: Name?) -> [NodeSource] {
        let nodes = block.list("nodes", "'- name: …'")
        if nodes.isEmpty { problems.add(block.mark("nodes"), "\(block.what) has no nodes", "list at least one") }
        var sources: [NodeSource] = []
        for (index, node) in nodes.enumerated() {
            let what = "node \(index + 1) of \(block.what)"
            guard let inner = ConfigurationBlock(node, what, keys: ["name"] + Self.nodeKeys, problems),
                let text = inner.requiredText("name", "give it a name such as 'edge-1'")
            else { continue }
            let name: Name
            do {
                name = try Name(text.value)
            } catch {
                problems.add(text.mark, "\(error.message) for a node", error.hint ?? "choose another")
                continue
            }
            guard !sources.contains(where: { $0.declaration.id.node == name }) else {
                problems.add(
                    text.mark, "a second node named '\(name)' in \(block.what)", "give each node a name of its own")
                continue
            }
            let id = NodeID(target ?? Self.unnamed, node: name)
            if let source = readNode(inner, id, inheriting: block) { sources.append(source) }
        }
        return sources
    }

    /// - Parameter outer: the block of the target: what a node does not say is taken from there.
    private func readNode(_ block: ConfigurationBlock, _ id: NodeID, inheriting outer: ConfigurationBlock?)
        -> NodeSource?
    {
        func holder(_ key: String) -> ConfigurationBlock { block.node(key) == nil ? outer ?? block : block }
        let bundleBlock = holder("bundle")
        let bundle = bundle(bundleBlock.node("bundle") == nil ? block : bundleBlock)
        let reloadBlock = holder("reload")
        let reload = reload(reloadBlock.node("reload") == nil ? block : reloadBlock, "reload", required: true)
        let fallback = fallback(holder("fallback"), for: reload)
        let endpoints = endpoints(block.node("endpoints") == nil && outer != nil ? block : holder("endpoints"))
        let verifyWithin = holder("verifyWithin").duration("verifyWithin", 1...3600) ?? 15
        let validate = holder("validate").block("validate", keys: ["arguments", "deadline"]).flatMap { commandLine($0) }
        let loadedAs = holder("loadedAs").text("loadedAs").flatMap { loadedPath($0) }
        let list = holder("list").block("list", keys: ["path", "file", "options", "filters"]).flatMap { self.list($0) }
        guard let bundle, let reload, !endpoints.isEmpty else { return nil }
        return NodeSource(
            declaration: NodeDeclaration(
                id: id, bundle: bundle, loadedAs: loadedAs, reload: reload, fallback: fallback, list: list,
                endpoints: endpoints.map(\.value), verifyWithin: .seconds(verifyWithin), validate: validate),
            bundleMark: bundleBlock.mark("bundle"), endpointMarks: endpoints.map(\.mark))
    }

    private func waves(_ block: ConfigurationBlock) -> [TargetDeclaration.Wave] {
        block.texts("waves").compactMap { text in
            if text.value.hasSuffix("%"), let share = Int(text.value.dropLast()), (1...100).contains(share) {
                return .percent(share)
            }
            if let count = Int(text.value), (1...10_000).contains(count) { return .nodes(count) }
            problems.add(
                text.mark, "'\(text.value)' is not the end of a wave",
                "write how many nodes are done then, as a number or a share: [1, 25%, 100%]")
            return nil
        }
    }

    /// A path in HAProxy's own file system: absolute, not looked at.
    private func loadedPath(_ text: Located<String>) -> String? {
        guard text.value.hasPrefix("/"), text.value.utf8.count <= 4095 else {
            problems.add(
                text.mark, "'\(TerminalText.sanitized(text.value, limit: 80))' is not an absolute path",
                "write the path as HAProxy's configuration has it, e.g. /usr/local/etc/haproxy/certs/{name}.pem")
            return nil
        }
        return text.value.hasSuffix("/") ? text.value + "{name}.pem" : text.value
    }

    private func list(_ block: ConfigurationBlock) -> ListDeclaration? {
        guard
            let text = block.requiredText("path", "write the crt-list file or the directory that a 'bind' line names"),
            text.value.hasPrefix("/")
        else {
            if let text = block.text("path") {
                problems.add(
                    text.mark, "'\(text.value)' is not an absolute path", "write it as HAProxy's configuration has it")
            }
            return nil
        }
        let path = text.value.count > 1 && text.value.hasSuffix("/") ? String(text.value.dropLast()) : text.value
        let declaration = ListDeclaration(
            path: path, file: block.text("file").flatMap { self.path($0) }, options: block.text("options")?.value,
            filters: block.texts("filters").map(\.value))
        if let problem = ListTerms.problem(declaration) {
            problems.add(block.mark("options"), problem.message, problem.hint ?? "correct it")
            return nil
        }
        return declaration
    }

    private func bundle(_ block: ConfigurationBlock) -> String? {
        let remedy = "write the file that HAProxy loads, e.g. /etc/haproxy/certs/{name}.pem"
        guard let text = block.requiredText("bundle", remedy), let path = path(text) else { return nil }
        let withoutName = path.replacingOccurrences(of: "{name}", with: "")
        guard !withoutName.contains(where: { $0 == "{" || $0 == "}" }) else {
            problems.add(
                text.mark, "'\(text.value)' has a placeholder other than {name}", "only {name} stands for something")
            return nil
        }
        if path.hasSuffix("/") { return path + "{name}.pem" }
        var status = stat()
        let isDirectory = stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
        return isDirectory ? path + "/{name}.pem" : path
    }

    func commandLine(_ block: ConfigurationBlock) -> CommandLine? {
        let texts = block.texts("arguments")
        let deadline = block.duration("deadline", 1...3600) ?? 30
        guard let program = texts.first else {
            if block.list("arguments", "[program, argument]").isEmpty,
                block.node("arguments")?.sequence != nil || block.node("arguments") == nil
            {
                block.missing(
                    "arguments", "write the program and its arguments as a list: [systemctl, reload, haproxy]")
            }
            return nil
        }
        if texts.count == 1, program.value.contains(" ") {
            problems.add(
                program.mark, "'\(program.value)' is one argument with blanks in it, and no shell splits it",
                "write [\(program.value.split(separator: " ").joined(separator: ", "))]")
            return nil
        }
        var arguments = texts.map(\.value)
        // A program with a slash is a path; one without is looked up in PATH.
        if program.value.contains("/") {
            guard let path = path(program) else { return nil }
            arguments[0] = path
        }
        return CommandLine(arguments: arguments, deadline: .seconds(deadline))
    }

    private func endpoints(_ block: ConfigurationBlock) -> [Located<Endpoint>] {
        let remedy =
            "add 'endpoints: [ { address: 127.0.0.1:443, serverName: www.example.com } ]': nothing else proves a rotation"
        let nodes = block.list("endpoints", "[ { address: 127.0.0.1:443 } ]")
        if nodes.isEmpty, block.node("endpoints").map({ $0.sequence != nil }) ?? true {
            problems.add(block.mark("endpoints"), "\(block.what) has no endpoints", remedy)
        }
        var result: [Located<Endpoint>] = []
        for node in nodes {
            guard let endpoint = endpoint(node, block.what) else { continue }
            guard !result.contains(where: { $0.value == endpoint.value }) else {
                problems.add(endpoint.mark, "the endpoint \(endpoint.value.address) is listed twice", "list it once")
                continue
            }
            result.append(endpoint)
        }
        return result
    }

    private func endpoint(_ node: Node, _ what: String) -> Located<Endpoint>? {
        guard
            let block = ConfigurationBlock(node, "an endpoint of \(what)", keys: ["address", "serverName"], problems),
            let address = block.requiredText("address", "write e.g. 'address: 127.0.0.1:443'")
        else { return nil }
        guard var endpoint = ConfigurationValue.endpoint(address.value) else {
            problems.add(
                address.mark, "'\(address.value)' is not an address with a port",
                "write HOST:PORT, like 127.0.0.1:443, www.example.com:443 or [::1]:443")
            return nil
        }
        guard let serverName = block.text("serverName") else {
            return block.node("serverName") == nil ? Located(value: endpoint, mark: node.mark) : nil
        }
        do {
            let name = try DNSName.canonical(serverName.value)
            guard !name.contains("*") else {
                problems.add(
                    serverName.mark, "'\(serverName.value)' has a wildcard; a client asks for one name",
                    "write one name that it covers")
                return nil
            }
            endpoint.serverName = name
            return Located(value: endpoint, mark: serverName.mark)
        } catch {
            let isAddress = IPAddress(serverName.value) != nil
            problems.add(
                serverName.mark,
                isAddress ? "'\(serverName.value)' is an address; no server name is sent for one" : error.message,
                isAddress ? "leave serverName out" : error.hint ?? "correct it")
            return nil
        }
    }
}
