/// How HAProxy is made to use a new bundle.
package enum ReloadMethod: Sendable, Hashable {
    /// Hot swap through the runtime API at this Unix socket; HAProxy's process and connections stay (manual §9.3).
    case runtime(socket: String)
    /// `reload` at the master CLI (`haproxy -W -S`, management manual §9.4).
    case master(socket: String)
    /// A signal to process 1 of a container, through the Docker Engine API.
    case docker(DockerContainer)
    /// `systemctl reload` of a unit.
    case systemd(unit: String)
    /// A signal to the process whose pid is in the file.
    case signal(pidFile: String, signal: ReloadSignal)
    /// An argument vector, never a shell.
    case command(CommandLine)

    /// HAProxy's own socket that the method talks to, if it talks to one.
    package var socket: String? {
        switch self {
        case .runtime(let socket), .master(let socket): socket
        case .docker, .systemd, .signal, .command: nil
        }
    }

    /// The word in `method:`.
    package var word: String {
        switch self {
        case .runtime: "runtime"
        case .master: "master"
        case .docker: "docker"
        case .systemd: "systemd"
        case .signal: "signal"
        case .command: "command"
        }
    }
}

/// The signals that make a master-worker HAProxy reload (management manual §4).
package enum ReloadSignal: String, Sendable, Hashable, CaseIterable {
    case usr2 = "USR2"
    case hup = "HUP"
}

/// A program with its arguments, run without a shell, with a deadline.
package struct CommandLine: Sendable, Hashable {
    package var arguments: [String]
    package var deadline: Duration

    package init(arguments: [String], deadline: Duration = .seconds(30)) {
        self.arguments = arguments
        self.deadline = deadline
    }
}
