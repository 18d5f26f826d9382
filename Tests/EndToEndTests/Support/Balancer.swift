import CertsCore
import CertsTesting
import Foundation
import Synchronization

/// Debian's HAProxy with one TLS `bind` on a free loopback port, which can be restarted from what is on disk.
final class Balancer: Sendable {
    let port: Int
    let socket: String
    /// Of the master CLI, where there is a master.
    let masterSocket: String
    let pidFile: String
    let configuration: String
    private let directory: TemporaryDirectory
    private let isMaster: Bool
    private let process = Mutex<pid_t>(0)

    static let executable = "/usr/sbin/haproxy"

    /// - Parameters:
    ///   - crt: what stands after `crt`, in order.
    ///   - isMaster: master and worker, with a master CLI, so that it can be reloaded.
    init(in directory: TemporaryDirectory, crt: [String], isMaster: Bool = false) throws {
        self.directory = directory
        self.isMaster = isMaster
        port = try LoopbackPort.reserve()
        socket = directory.path("admin.sock")
        masterSocket = directory.path("master.sock")
        pidFile = directory.path("haproxy.pid")
        configuration = directory.path("haproxy.cfg")
        try write(crt: crt)
    }

    deinit { stop() }

    /// Writes the configuration; it counts from the next start on.
    func write(crt: [String]) throws {
        let text = """
            global
                stats socket \(socket) mode 600 level admin
                stats timeout 30s
            defaults
                mode http
                timeout connect 5s
                timeout client 20s
                timeout server 20s
            frontend https-in
                bind 127.0.0.1:\(port) ssl \(crt.map { "crt \($0)" }.joined(separator: " "))
                http-request return status 200 content-type text/plain string ok

            """
        try directory.write(text, to: "haproxy.cfg")
    }

    /// Returns when it serves.
    func start() async throws {
        try await blocking.run { [self] in
            guard FileManager.default.isExecutableFile(atPath: Self.executable) else {
                throw Program.Failure(description: "\(Self.executable) is not installed: apt-get install haproxy")
            }
            let log = directory.path("haproxy.log")
            let child = try Program(
                // It must not outlive the tests, however they end.
                arguments: ["setpriv", "--pdeathsig", "KILL", Self.executable]
                    + (isMaster ? ["-W", "-S", "\(masterSocket),mode,600"] : []) + [
                        "-db", "-p", pidFile, "-f", configuration,
                    ]
            ).start(output: log, errors: log)
            process.withLock { $0 = child }
            if !isMaster { try directory.write("\(child)\n", to: "haproxy.pid") }
            for _ in 0..<3000 {
                if Program.wait(for: child, seconds: 0) != nil {
                    process.withLock { $0 = 0 }
                    throw Program.Failure(
                        description:
                            "HAProxy ended at once: \((try? String(contentsOfFile: log, encoding: .utf8)) ?? "")")
                }
                if Loopback.accepts(port), (try? ask("show info"))?.contains("Pid:") == true { return }
                usleep(10_000)
            }
            throw Program.Failure(description: "HAProxy does not get ready")
        }
    }

    /// Ends it, and with `-W` its worker; returns when it is gone. Blocking.
    func stop() {
        let child = process.withLock { child in
            defer { child = 0 }
            return child
        }
        guard child > 0 else { return }
        kill(child, SIGTERM)
        if Program.wait(for: child, seconds: 5) == nil {
            kill(child, SIGKILL)
            _ = Program.wait(for: child, seconds: 5)
        }
    }

    /// Ends it as a crash would; returns when it is gone. Blocking.
    func crash() {
        signal(SIGKILL)
        stop()
    }

    /// Sends a signal to the only process, or to the master.
    func signal(_ number: Int32) {
        let child = process.withLock { $0 }
        if child > 0 { kill(child, number) }
    }

    func restart() async throws {
        try await blocking.run { [self] in stop() }
        try await start()
    }

    /// Sends one command as any admin client would. Blocking.
    @discardableResult
    func ask(_ command: String, payload: Data? = nil) throws -> String {
        try FakeHAProxy.ask(socket, Data("\(command)\n".utf8) + (payload.map { $0 + [10] } ?? Data()))
    }
}

extension Balancer {
    /// Sends one command to the master CLI. Blocking.
    @discardableResult
    func askMaster(_ command: String) throws -> String {
        var tries = 500
        while true {
            do {
                return try FakeHAProxy.ask(masterSocket, Data("\(command); quit\n".utf8), patience: 5)
            } catch  where tries > 0 {
                // It listens to nobody while it executes itself anew: after its start, and for each reload.
                tries -= 1
                usleep(10_000)
            }
        }
    }

    /// How often the master was asked to load its files again, and the processes that serve. Blocking.
    func processes() throws -> (reloads: Int, workers: [String]) {
        let text = try askMaster("show proc")
        let lines = text.split(separator: "\n")
        let current = lines.drop { !$0.hasPrefix("# workers") }.dropFirst().prefix { !$0.hasPrefix("#") }
        let master = lines.first { $0.contains(" master ") }?.split(whereSeparator: \.isWhitespace)
        guard let master, master.count > 2, let reloads = Int(master[2]) else {
            throw Program.Failure(description: "the master CLI answers: \(text)")
        }
        return (reloads, current.compactMap { $0.split(whereSeparator: \.isWhitespace).first.map(String.init) })
    }
}

/// TCP on the loopback.
enum Loopback {
    /// A bound socket that listens and never accepts: what connects to it waits for ever.
    static func listen(backlog: Int32) throws -> Int32 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = Self.address(0)
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard descriptor >= 0, bound == 0, Glibc.listen(descriptor, backlog) == 0 else {
            throw POSIXError(.init(rawValue: errno) ?? .EIO)
        }
        return descriptor
    }

    static func port(of descriptor: Int32) throws -> Int {
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        guard result == 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    static func accepts(_ port: Int) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var address = Self.address(port)
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }

    private static func address(_ port: Int) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        address.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
        return address
    }
}
