import CertsCore
import CertsHAProxy
import CertsStore
import Foundation
import Yams

// One HAProxy: a target that is one, or a node of a target that has several.
extension ConfigurationReader {
    static let nodeKeys = [
        "bundle", "loadedAs", "reload", "fallback", "list", "endpoints", "verifyWithin", "validate",
    ]

    /// Stands in where the name is missing or wrong, so that the rest is still checked.
    static let unnamed: Name = {
        guard let name = try? Name("target") else { preconditionFailure("a constant") }
        return name
    }()

    func readNodes(_ block: ConfigurationBlock, _ target: Name?) -> [NodeSource] {
        let nodes = block.list("nodes", "'- name: …'")
        if nodes.isEmpty, block.node("nodes")?.sequence != nil {
            problems.add(block.mark("nodes"), "\(block.what) has no nodes", "list at least one, or leave 'nodes' out")
        }
        if block.node("endpoints") != nil {
            problems.add(
                block.mark("endpoints"), "the endpoints of \(block.what) would prove none of its nodes",
                "give each node 'endpoints' with an address of its own")
        }
        var sources: [NodeSource] = []
        for (index, node) in nodes.enumerated() {
            let what = "\(Self.what(node, "node", index)) of \(block.what)"
            guard let inner = ConfigurationBlock(node, what, keys: ["name"] + Self.nodeKeys, problems),
                let name = nodeName(inner, block, besides: sources)
            else { continue }
            let id = NodeID(target ?? Self.unnamed, node: name)
            guard let source = readNode(inner, id, inheriting: block) else { continue }
            checkWay(to: source, inner, besides: sources)
            sources.append(source)
        }
        checkEndpoints(of: sources)
        return sources
    }

    private func nodeName(
        _ node: ConfigurationBlock, _ target: ConfigurationBlock, besides others: [NodeSource]
    ) -> Name? {
        guard let text = node.requiredText("name", "give it a name such as 'edge-1'") else { return nil }
        do {
            let name = try Name(text.value)
            guard !others.contains(where: { $0.declaration.id.node == name }) else {
                problems.add(
                    text.mark, "a second node named '\(name)' in \(target.what)", "give each node a name of its own")
                return nil
            }
            return name
        } catch {
            problems.add(text.mark, "\(error.message) for a node", error.hint ?? "choose another")
            return nil
        }
    }

    /// Two nodes are two HAProxys: what reaches one of them does not reach the other.
    private func checkWay(to node: NodeSource, _ block: ConfigurationBlock, besides others: [NodeSource]) {
        for key in ["reload", "fallback"] {
            let method = key == "reload" ? node.declaration.reload : node.declaration.fallback
            // A command may reach another HAProxy each time it runs.
            guard let method, method.word != "command",
                let other = others.first(where: { [$0.declaration.reload, $0.declaration.fallback].contains(method) })
            else { continue }
            return problems.add(
                block.mark(key), "'\(key)' of \(block.what) is that of node '\(other.shownName)', too",
                "give each node a '\(key)' of its own: two nodes are two HAProxys")
        }
    }

    /// What is seen at the address of one node says nothing about another one.
    private func checkEndpoints(of nodes: [NodeSource]) {
        var owners: [Endpoint: NodeSource] = [:]
        for node in nodes {
            for (endpoint, mark) in zip(node.declaration.endpoints, node.endpointMarks) {
                if let owner = owners[endpoint] {
                    problems.add(
                        mark, "the endpoint \(endpoint.address) is that of node '\(owner.shownName)' already",
                        "write an address at which only node '\(node.shownName)' answers: nothing else proves it")
                } else {
                    owners[endpoint] = node
                }
            }
        }
    }

    // MARK: The keys of a node

    /// - Parameter outer: the block of the target: what a node does not say is taken from there.
    func readNode(_ block: ConfigurationBlock, _ id: NodeID, inheriting outer: ConfigurationBlock?) -> NodeSource? {
        func holder(_ key: String) -> ConfigurationBlock {
            guard let outer, block.node(key) == nil, outer.node(key) != nil else { return block }
            return outer
        }
        let bundleBlock = holder("bundle")
        let bundle = bundle(bundleBlock)
        let reload = reload(holder("reload"), "reload", required: true)
        let isOverridden = block.node("fallback") == nil && block.node("reload") != nil
        let fallback = fallback(holder("fallback"), for: reload, mayBeIdle: isOverridden)
        let endpoints = endpoints(block)
        let verifyWithin = holder("verifyWithin").duration("verifyWithin", 1...3600) ?? 15
        let validate = holder("validate").block("validate", keys: ["arguments", "deadline"]).flatMap { commandLine($0) }
        let loadedAs = holder("loadedAs").text("loadedAs").flatMap { loadedPath($0) }
        let list = holder("list").block("list", keys: ["path", "file", "options", "filters"]).flatMap { self.list($0) }
        guard let bundle, let reload, !endpoints.isEmpty else { return nil }
        return NodeSource(
            declaration: NodeDeclaration(
                id: id, bundle: bundle, loadedAs: loadedAs, reload: reload, fallback: fallback, list: list,
                endpoints: endpoints.map(\.value), verifyWithin: .seconds(verifyWithin), validate: validate),
            bundleMark: bundleBlock.mark("bundle"), loadedMark: holder("loadedAs").mark("loadedAs"),
            endpointMarks: endpoints.map(\.mark))
    }

    func bundle(_ block: ConfigurationBlock) -> String? {
        let remedy = "write the file that HAProxy loads, e.g. /etc/haproxy/certs/{name}.pem"
        guard let text = block.requiredText("bundle", remedy), let path = path(text), hasOnlyName(text, path) else {
            return nil
        }
        if path.hasSuffix("/") { return path + "{name}.pem" }
        return PathKind(of: path) == .directory ? path + "/{name}.pem" : path
    }

    private func loadedPath(_ text: Located<String>) -> String? {
        let example = "/usr/local/etc/haproxy/certs/{name}.pem"
        guard let path = haproxyPath(text, example), hasOnlyName(text, path) else { return nil }
        return path.hasSuffix("/") ? path + "{name}.pem" : path
    }

    private func hasOnlyName(_ text: Located<String>, _ path: String) -> Bool {
        let rest = path.replacingOccurrences(of: "{name}", with: "")
        guard rest.contains(where: { $0 == "{" || $0 == "}" }) else { return true }
        problems.add(
            text.mark, "'\(TerminalText.sanitized(text.value, limit: 80))' has a placeholder other than {name}",
            "only {name} stands for something")
        return false
    }

    /// A path in HAProxy's own file system: absolute, not looked at.
    func haproxyPath(_ text: Located<String>, _ example: String) -> String? {
        guard text.value.hasPrefix("/"), text.value.utf8.count <= 4095 else {
            problems.add(
                text.mark, "'\(TerminalText.sanitized(text.value, limit: 80))' is not an absolute path",
                "write it as HAProxy sees it, e.g. \(example)")
            return nil
        }
        return text.value
    }

    private func list(_ block: ConfigurationBlock) -> ListDeclaration? {
        let remedy = "write the crt-list file or the directory that a 'bind' line names"
        guard let text = block.requiredText("path", remedy),
            var path = haproxyPath(text, "/etc/haproxy/certs.list")
        else { return nil }
        if path.utf8.count > 1, path.hasSuffix("/") { path.removeLast() }
        var list = ListDeclaration(path: path, file: block.text("file").flatMap { self.path($0) })
        if let options = block.text("options") {
            guard canStand(ListDeclaration(path: path, options: options.value), options.mark) else { return nil }
            list.options = options.value
        }
        for filter in block.texts("filters", "[www.example.com]") {
            if canStand(ListDeclaration(path: path, filters: [filter.value]), filter.mark) {
                list.filters.append(filter.value)
            }
        }
        return list
    }

    private func canStand(_ terms: ListDeclaration, _ mark: Mark?) -> Bool {
        guard let problem = ListTerms.problem(terms) else { return true }
        problems.add(mark, problem.message, problem.hint ?? "correct it")
        return false
    }
}

extension ConfigurationReader.NodeSource {
    fileprivate var shownName: String { declaration.id.node?.rawValue ?? declaration.id.description }
}
