import CertsCore
import Foundation
import Yams

extension ConfigurationReader {
    private static let methods = ["runtime", "signal", "command"]
    private static let methodsToCome = ["master", "docker", "systemd"]
    private static let methodKeys = [
        "runtime": ["method", "socket"], "signal": ["method", "pidFile", "signal"],
        "command": ["method", "arguments", "deadline"],
    ]

    mutating func readTargets(_ top: ConfigurationBlock) {
        let keys = ["name", "type", "bundle", "reload", "endpoints", "verifyWithin", "validate"]
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
        let bundle = bundle(block)
        let reload = reload(block)
        let endpoints = endpoints(block)
        let verifyWithin = block.duration("verifyWithin", 1...3600) ?? 15
        let validate = block.block("validate", keys: ["arguments", "deadline"]).flatMap { commandLine($0) }
        guard let name, let bundle, let reload, !endpoints.isEmpty else { return }
        targets.append(
            TargetSource(
                declaration: TargetDeclaration(
                    name: name, bundle: bundle, reload: reload, endpoints: endpoints.map(\.value),
                    verifyWithin: .seconds(verifyWithin), validate: validate),
                mark: block.mark, bundleMark: block.mark("bundle"), endpointMarks: endpoints.map(\.mark)))
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

    private func reload(_ block: ConfigurationBlock) -> ReloadMethod? {
        let remedy = "write e.g. 'reload: { method: runtime, socket: /run/haproxy/admin.sock }'"
        guard let node = block.node("reload") else {
            block.missing("reload", remedy)
            return nil
        }
        let methodNode = node.mapping?.first { $0.key.scalar?.string == "method" }?.value
        guard let method = methodNode?.scalar, let methodNode, !ConfigurationText.isNull(methodNode) else {
            problems.add(methodNode?.mark ?? node.mark, "'reload' of \(block.what) has no 'method'", remedy)
            return nil
        }
        if Self.methodsToCome.contains(method.string) {
            problems.add(
                method.mark, "the reload method '\(method.string)' is not available in this version",
                "use \(Self.methods.joined(separator: ", "))")
            return nil
        }
        guard let keys = Self.methodKeys[method.string] else {
            problems.add(
                method.mark, "'\(method.string)' is not a reload method", self.remedy(for: method.string, Self.methods))
            return nil
        }
        guard let reload = block.block("reload", keys: keys) else { return nil }
        switch method.string {
        case "runtime": return runtime(reload)
        case "signal": return signal(reload)
        default: return commandLine(reload).map { .command($0) }
        }
    }

    private func runtime(_ reload: ConfigurationBlock) -> ReloadMethod? {
        guard let text = reload.requiredText("socket", "write the path of HAProxy's 'stats socket', at level admin")
        else { return nil }
        if ConfigurationValue.endpoint(text.value) != nil {
            problems.add(
                text.mark, "'\(text.value)' is a TCP address, not a Unix socket", "write the path of a 'stats socket'")
            return nil
        }
        guard let path = path(text) else { return nil }
        // `sun_path` has 108 bytes, the last of which is the terminator (unix(7)).
        guard path.utf8.count <= 107 else {
            problems.add(text.mark, "the socket's path '\(path)' is longer than 107 bytes", "choose a shorter path")
            return nil
        }
        return .runtime(socket: path)
    }

    private func signal(_ reload: ConfigurationBlock) -> ReloadMethod? {
        var signal: ReloadSignal? = .usr2
        if let text = reload.text("signal") {
            let bare = text.value.hasPrefix("SIG") ? String(text.value.dropFirst(3)) : text.value
            signal = word(
                Located(value: bare, mark: text.mark), "a signal that makes HAProxy reload", ReloadSignal.self)
        }
        guard let file = reload.requiredText("pidFile", "write the file that HAProxy's 'pidfile' names"),
            let path = path(file),
            let signal
        else { return nil }
        return .signal(pidFile: path, signal: signal)
    }

    private func commandLine(_ block: ConfigurationBlock) -> CommandLine? {
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
