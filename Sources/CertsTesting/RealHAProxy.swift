import CertsCore
package import Foundation

/// Debian's HAProxy, started on a free loopback port with a configuration of its own, ended by its own pid.
package final class RealHAProxy: @unchecked Sendable {
    // @unchecked: everything is set in `init`; Process is only asked for its state and told to end.
    package let port: Int
    /// The `stats socket`, at admin level, and a second one at operator level.
    package let socket: String
    package let operatorSocket: String
    /// The socket of the master CLI, where there is a master.
    package let masterSocket: String
    /// Holds the pid of the master, or of the only process.
    package let pidFile: String
    package let configuration: String
    private let process = Process()
    private let log: String

    package struct Failed: Error, CustomStringConvertible {
        package let description: String
    }

    package static let executable = "/usr/sbin/haproxy"

    /// Starts it and returns when it serves.
    ///
    /// - Parameters:
    ///   - crt: what stands after `crt` of the one TLS `bind`, in order: files or directories.
    ///   - bind: more words of that `bind`, e.g. `crt-list FILE`.
    ///   - isMaster: master and worker (`-W`), so that signals reload.
    ///   - global: more lines of the `global` section, and whole sections after it.
    ///   - masterOptions: what follows `mode,600` in `-S`, e.g. `,level,user`.
    package static func start(
        in directory: TemporaryDirectory, crt: [String] = [], bind: String = "", isMaster: Bool = true,
        global: String = "", masterOptions: String = ""
    ) async throws -> RealHAProxy {
        // Off the cooperative pool: waiting there would delay what other tests measure.
        try await BlockingPool.network.run {
            try RealHAProxy(
                in: directory, crt: crt, bind: bind, isMaster: isMaster, global: global, masterOptions: masterOptions)
        }
    }

    private init(
        in directory: TemporaryDirectory, crt: [String], bind: String, isMaster: Bool, global: String,
        masterOptions: String
    ) throws {
        guard FileManager.default.isExecutableFile(atPath: Self.executable) else {
            throw Failed(description: "\(Self.executable) is not installed: apt-get install haproxy")
        }
        port = try LoopbackPort.reserve()
        socket = directory.path("admin.sock")
        operatorSocket = directory.path("operator.sock")
        masterSocket = directory.path("master.sock")
        pidFile = directory.path("haproxy.pid")
        log = directory.path("haproxy.log")
        let text = """
            global
                stats socket \(socket) mode 600 level admin
                stats socket \(operatorSocket) mode 600 level operator
                \(global)
            defaults
                mode http
                timeout connect 2s
                timeout client 5s
                timeout server 5s
            frontend https-in
                bind 127.0.0.1:\(port) ssl \((crt.map { "crt \($0)" } + [bind]).joined(separator: " "))
                http-request return status 200 content-type text/plain string ok

            """
        configuration = try directory.write(text, to: "haproxy.cfg")
        try directory.write("", to: "haproxy.log")
        process.executableURL = URL(filePath: Self.executable)
        let master = isMaster ? ["-W", "-S", "\(masterSocket),mode,600\(masterOptions)"] : []
        process.arguments = master + ["-db", "-p", pidFile, "-f", configuration]
        process.standardInput = FileHandle.nullDevice
        let output = FileHandle(forWritingAtPath: log)
        process.standardOutput = output
        process.standardError = output
        try process.run()
        if !FileManager.default.fileExists(atPath: pidFile) {
            try Data("\(process.processIdentifier)\n".utf8).write(to: URL(filePath: pidFile))
        }
        try waitUntilReady()
    }

    deinit { stop() }

    /// Of the master, or of the only process.
    package var pid: Int32 { process.processIdentifier }
    package var isRunning: Bool { process.isRunning }
    /// What it printed.
    package var output: String { (try? String(contentsOfFile: log, encoding: .utf8)) ?? "" }

    /// Ends it at once, as a crash would: the worker before the master.
    package func crash() {
        for worker in workers { kill(worker, SIGKILL) }
        if process.isRunning { kill(pid, SIGKILL) }
        process.waitUntilExit()
    }

    /// Ends it, gently first.
    package func stop() {
        guard process.isRunning else { return }
        kill(pid, SIGTERM)
        for _ in 0..<200 where process.isRunning { usleep(10_000) }
        if process.isRunning { crash() }
    }

    /// Sends one command to the admin socket, as another client would. Blocking.
    @discardableResult
    package func ask(_ command: String, payload: Data? = nil) throws -> String {
        var bytes = Data("\(command)\n".utf8)
        if let payload { bytes += payload + [10] }
        return try FakeHAProxy.ask(socket, bytes)
    }

    /// The children of the master, old ones too.
    package var workers: [Int32] {
        let text = (try? String(contentsOfFile: "/proc/\(pid)/task/\(pid)/children", encoding: .utf8)) ?? ""
        return text.split(separator: " ").compactMap { Int32($0) }
    }

    private func waitUntilReady() throws {
        for _ in 0..<1000 {
            guard process.isRunning else { throw Failed(description: "HAProxy ended at once: \(output)") }
            if UnixSocket.accepts(port: port), (try? ask("show info"))?.contains("Pid:") == true { return }
            usleep(10_000)
        }
        stop()
        throw Failed(description: "HAProxy does not get ready: \(output)")
    }
}
