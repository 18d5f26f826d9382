import CertsCore
import Foundation
import Yams

// `reload:` and `fallback:` of a target.
extension ConfigurationReader {
    private static let methods = ["runtime", "master", "docker", "systemd", "signal", "command"]
    private static let methodKeys = [
        "runtime": ["method", "socket"], "master": ["method", "socket"],
        "docker": ["method", "container", "service", "project", "engine", "signal", "configuration", "restart"],
        "systemd": ["method", "unit"], "signal": ["method", "pidFile", "signal"],
        "command": ["method", "arguments", "deadline"],
    ]

    func reload(_ block: ConfigurationBlock, _ key: String, required: Bool = false) -> ReloadMethod? {
        let remedy = "write e.g. '\(key): { method: runtime, socket: /run/haproxy/admin.sock }'"
        guard let node = block.node(key) else {
            if required { block.missing(key, remedy) }
            return nil
        }
        let methodNode = node.mapping?.first { $0.key.scalar?.string == "method" }?.value
        guard let method = methodNode?.scalar, let methodNode, !ConfigurationText.isNull(methodNode) else {
            problems.add(methodNode?.mark ?? node.mark, "'\(key)' of \(block.what) has no 'method'", remedy)
            return nil
        }
        guard let keys = Self.methodKeys[method.string] else {
            problems.add(
                method.mark, "'\(method.string)' is not a reload method", self.remedy(for: method.string, Self.methods))
            return nil
        }
        guard let reload = block.block(key, keys: keys) else { return nil }
        switch method.string {
        case "runtime": return socket(reload, "HAProxy's 'stats socket', at level admin").map { .runtime(socket: $0) }
        case "master": return socket(reload, "HAProxy's master CLI (`-S`)").map { .master(socket: $0) }
        case "docker": return docker(reload)
        case "systemd": return systemd(reload)
        case "signal": return signal(reload)
        default: return commandLine(reload).map { .command($0) }
        }
    }

    /// Only the runtime API needs one, and only by a method that reloads.
    ///
    /// - Parameter mayBeIdle: a node with a `reload` of its own cannot take out what it inherits.
    func fallback(_ block: ConfigurationBlock, for reload: ReloadMethod?, mayBeIdle: Bool) -> ReloadMethod? {
        guard block.node("fallback") != nil, let method = self.reload(block, "fallback") else { return nil }
        if case .runtime = method {
            problems.add(
                block.mark("fallback"), "'fallback' of \(block.what) does not reload",
                "use master, docker, systemd, signal or command")
            return nil
        }
        if let reload, reload.word != "runtime" {
            if mayBeIdle { return nil }
            problems.add(
                block.mark("fallback"), "\(block.what) reloads anyway, by '\(reload.word)'",
                "leave fallback out, or use 'method: runtime' in 'reload'")
            return nil
        }
        return method
    }

    private func socket(_ reload: ConfigurationBlock, _ what: String) -> String? {
        guard let text = reload.requiredText("socket", "write the path of \(what)") else { return nil }
        return unixSocket(text)
    }

    private func unixSocket(_ text: Located<String>) -> String? {
        if ConfigurationValue.endpoint(text.value) != nil {
            problems.add(text.mark, "'\(text.value)' is a TCP address, not a Unix socket", "write the path of a socket")
            return nil
        }
        guard let path = path(text) else { return nil }
        // `sun_path` has 108 bytes, the last of which is the terminator (unix(7)).
        guard path.utf8.count <= 107 else {
            problems.add(text.mark, "the socket's path '\(path)' is longer than 107 bytes", "choose a shorter path")
            return nil
        }
        return path
    }

    private func docker(_ reload: ConfigurationBlock) -> ReloadMethod? {
        let container = reload.text("container")
        let service = reload.text("service")
        let project = reload.text("project")
        let remedy = "write 'container: NAME', or 'service: NAME' with the 'project' of Compose"
        let selector: DockerContainer.Selector
        switch (container, service) {
        case (let container?, nil):
            if let project { problems.add(project.mark, "'project' belongs to 'service'", remedy) }
            selector = .name(container.value)
        case (nil, let service?): selector = .compose(project: project?.value, service: service.value)
        case (let container?, .some):
            problems.add(container.mark, "'container' and 'service' are both given", remedy)
            return nil
        case (nil, nil):
            reload.missing("container", remedy)
            return nil
        }
        for text in [container, service, project].compactMap({ $0 }) where !DockerContainer.isName(text.value) {
            problems.add(
                text.mark, "'\(TerminalText.sanitized(text.value, limit: 80))' cannot be the name of a container",
                "use letters, digits, '_', '.', '-'")
            return nil
        }
        var declared = DockerContainer(selector: selector)
        if let engine = reload.text("engine") {
            guard let path = unixSocket(engine) else { return nil }
            declared.engineSocket = path
        }
        guard let signal = signalWord(reload, default: .hup) else { return nil }
        declared.signal = signal
        if let text = reload.text("configuration") {
            guard let path = haproxyPath(text, "/usr/local/etc/haproxy/haproxy.cfg") else { return nil }
            declared.configuration = path
        }
        declared.restart = reload.flag("restart") ?? false
        return .docker(declared)
    }

    private func systemd(_ reload: ConfigurationBlock) -> ReloadMethod? {
        let text = reload.text("unit") ?? Located(value: "haproxy.service", mark: reload.mark)
        let allowed = text.value.utf8.allSatisfy { byte in
            byte > 0x20 && byte < 0x7f && !"/;|&<>()$`'\"*?[]{}\\".utf8.contains(byte)
        }
        guard allowed, !text.value.isEmpty, !text.value.hasPrefix("-"), text.value.utf8.count <= 255 else {
            problems.add(
                text.mark, "'\(TerminalText.sanitized(text.value, limit: 80))' cannot be the name of a unit",
                "write e.g. haproxy.service")
            return nil
        }
        return .systemd(unit: text.value.contains(".") ? text.value : text.value + ".service")
    }

    private func signal(_ reload: ConfigurationBlock) -> ReloadMethod? {
        let signal = signalWord(reload, default: .usr2)
        guard let file = reload.requiredText("pidFile", "write the file that HAProxy's 'pidfile' names"),
            let path = path(file), let signal
        else { return nil }
        return .signal(pidFile: path, signal: signal)
    }

    private func signalWord(_ reload: ConfigurationBlock, default signal: ReloadSignal) -> ReloadSignal? {
        guard let text = reload.text("signal") else { return signal }
        let bare = text.value.hasPrefix("SIG") ? String(text.value.dropFirst(3)) : text.value
        return word(Located(value: bare, mark: text.mark), "a signal that makes HAProxy reload", ReloadSignal.self)
    }
}
