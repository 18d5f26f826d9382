/// One line of `top`, with pids of the engine's host.
struct ContainerProcess: Sendable, Hashable {
    let pid: Int
    let parent: Int
    /// Since it was started, in seconds.
    var age: Double?
    /// As `ps` prints them: an argument with a space in it has become several.
    let arguments: [String]

    init(pid: Int, parent: Int, age: Double? = nil, arguments: [String]) {
        self.pid = pid
        self.parent = parent
        self.age = age
        self.arguments = arguments
    }

    /// The last component of its program.
    var program: String { arguments.first.flatMap { $0.split(separator: "/").last.map(String.init) } ?? "" }
    var isHAProxy: Bool { program == "haproxy" || program.hasPrefix("haproxy-") }

    /// The files and directories that it was told to load, in order (management manual §3), with the directory that it
    /// changes to first.
    var configuration: (directory: String?, files: [String]) {
        var directory: String?
        var files: [String] = []
        var index = 1
        while index < arguments.count {
            let argument = arguments[index]
            if argument == "--" {
                files += arguments[(index + 1)...]
                break
            }
            if index + 1 < arguments.count, argument == "-f" || argument == "-C" {
                index += 1
                if argument == "-f" { files.append(arguments[index]) } else { directory = arguments[index] }
            }
            index += 1
        }
        return (directory, files)
    }
}

/// The processes of a container, and what a signal to it would reach.
struct ContainerProcesses: Sendable {
    let all: [ContainerProcess]
    /// The container's process 1.
    let first: Int

    /// These do nothing of their own: what they get they pass on to their child. With `init: true` Compose puts the
    /// first of them before the command.
    private static let forwarders: Set<String> = ["docker-init", "tini", "dumb-init", "catatonit"]

    /// The process that acts on a signal to the container.
    var signalled: ContainerProcess? {
        guard let main = all.first(where: { $0.pid == first }) else { return nil }
        guard Self.forwarders.contains(main.program) else { return main }
        return all.first { $0.parent == main.pid } ?? main
    }

    /// Any HAProxy, the master before its workers.
    var haproxy: ContainerProcess? {
        if let signalled, signalled.isHAProxy { return signalled }
        let found = all.filter(\.isHAProxy)
        return found.first { process in !found.contains { $0.pid == process.parent } }
    }

    /// The HAProxy that starts a new worker when the container gets a signal.
    var master: ContainerProcess? {
        guard let signalled, signalled.isHAProxy else { return nil }
        let isAsked = signalled.arguments.contains { $0 == "-W" || $0 == "-Ws" }
        // `master-worker` in the global section does the same as the option.
        return isAsked || !workers(of: signalled).isEmpty ? signalled : nil
    }

    /// The children of a master that are HAProxy; others come from `program` sections.
    func workers(of master: ContainerProcess) -> [ContainerProcess] {
        all.filter { $0.parent == master.pid && $0.isHAProxy }
    }
}
