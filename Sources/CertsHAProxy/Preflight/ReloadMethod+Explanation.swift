import CertsCore

extension ReloadMethod {
    /// What is known after it, in one sentence; only the handshakes that follow prove more.
    var proof: String {
        switch self {
        case .runtime:
            "hot swap: HAProxy tells the path, the fingerprint and how many binds took it; nothing is closed"
        case .master: "reload at the master CLI: it tells whether a new worker has loaded the files"
        case .docker(let container):
            container.restart
                ? "signal to the container, or its restart as a last resort: a new worker is looked for"
                : "signal to the container: a new worker is looked for in its processes"
        case .systemd: "`systemctl reload`: a new worker of the unit's main process is looked for"
        case .signal: "signal to the master: a new worker among its children is looked for"
        case .command: "a command: its exit code is all that is known before the handshakes"
        }
    }

    /// What is sent or run.
    var commands: [String] {
        switch self {
        case .runtime: []
        case .master(let socket): ["reload  (at \(socket))"]
        case .docker(let container):
            [
                "exec haproxy -c  (in \(container.selector))",
                "kill -s \(container.signal.rawValue)  (\(container.selector))",
            ]
                + (container.restart ? ["restart, only if it cannot be reloaded  (\(container.selector))"] : [])
        case .systemd(let unit): ["systemctl reload \(unit)"]
        case .signal(let file, let signal): ["kill -s \(signal.rawValue) $(cat \(file))"]
        case .command(let command): [command.arguments.joined(separator: " ")]
        }
    }
}
