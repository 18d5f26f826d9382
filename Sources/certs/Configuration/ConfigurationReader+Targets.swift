import CertsCore
import Foundation
import Yams

extension ConfigurationReader {
    mutating func readTargets(_ top: ConfigurationBlock) {
        let keys = ["name", "type", "nodes", "waves"] + Self.nodeKeys
        for (index, node) in top.list("targets", "'- name: …'").enumerated() {
            let what = Self.what(node, "target", index)
            guard let block = ConfigurationBlock(node, what, keys: keys, problems) else { continue }
            readTarget(block)
        }
    }

    /// What an item of a list is called in messages: by its name, or by its place where it has none.
    static func what(_ node: Node, _ kind: String, _ index: Int) -> String {
        let name = node.mapping?.first { $0.key.scalar?.string == "name" }?.value.scalar
        return name.map { "\(kind) '\($0.string)'" } ?? "\(kind) \(index + 1)"
    }

    private mutating func readTarget(_ block: ConfigurationBlock) {
        let nameText = block.requiredText("name", "give it a name such as 'loadbalancer'")
        let name = declare(nameText, "target", in: \.targetNames)
        if let type = block.requiredText("type", "write 'type: haproxy'"), type.value != "haproxy" {
            problems.add(type.mark, "'\(type.value)' is not a type of target", "write 'type: haproxy'")
        }
        let sources: [NodeSource]
        var waves: [Located<TargetDeclaration.Wave>] = []
        if block.node("nodes") != nil {
            sources = readNodes(block, name)
            waves = self.waves(block)
        } else {
            if block.node("waves") != nil {
                problems.add(
                    block.mark("waves"), "\(block.what) has waves but no nodes", "list its 'nodes', or leave waves out")
            }
            sources = [readNode(block, NodeID(name ?? Self.unnamed), inheriting: nil)].compactMap(\.self)
        }
        guard let name, !sources.isEmpty else { return }
        let declaration = TargetDeclaration(
            name: name, nodes: sources.map(\.declaration), waves: waves.map(\.value))
        // By what is written: a node with a problem of its own is still a node.
        checkOrder(of: waves, block.what, count: block.node("nodes")?.sequence?.count ?? sources.count)
        targets.append(TargetSource(declaration: declaration, mark: block.mark, nodes: sources))
    }

    private func waves(_ block: ConfigurationBlock) -> [Located<TargetDeclaration.Wave>] {
        block.texts("waves", "[1, 25%, 100%]").compactMap { text in
            if text.value.hasSuffix("%"), let share = Int(text.value.dropLast()), (1...100).contains(share) {
                return Located(value: .percent(share), mark: text.mark)
            }
            if let count = Int(text.value), (1...10_000).contains(count) {
                return Located(value: .nodes(count), mark: text.mark)
            }
            problems.add(
                text.mark, "'\(text.value)' is not the end of a wave",
                "write how many nodes are done then, as a number or a share: [1, 25%, 100%]")
            return nil
        }
    }

    /// A wave that ends before an earlier one would be empty, and was meant to be something else.
    private func checkOrder(of waves: [Located<TargetDeclaration.Wave>], _ what: String, count: Int) {
        let ends = waves.map { $0.value.end(of: count) }
        for index in waves.indices.dropFirst() where ends[index] < ends[index - 1] {
            problems.add(
                waves[index].mark,
                "this wave of \(what) ends at node \(ends[index]), and the one before it at node "
                    + "\(ends[index - 1])",
                "each number counts from the first node: write them in rising order, like [1, 25%, 100%]")
        }
    }

    func commandLine(_ block: ConfigurationBlock) -> CommandLine? {
        let deadline = block.duration("deadline", 1...3600) ?? 30
        return programLine(block, "arguments", "[systemctl, reload, haproxy]").map {
            CommandLine(arguments: $0, deadline: .seconds(deadline))
        }
    }

    /// A program with its arguments, from a list that is required.
    func programLine(_ block: ConfigurationBlock, _ key: String, _ example: String) -> [String]? {
        let texts = block.texts(key)
        guard let program = texts.first else {
            if block.list(key, "[program, argument]").isEmpty,
                block.node(key)?.sequence != nil || block.node(key) == nil
            {
                block.missing(key, "write the program and its arguments as a list: \(example)")
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
        return arguments
    }

    func endpoints(_ block: ConfigurationBlock) -> [Located<Endpoint>] {
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
