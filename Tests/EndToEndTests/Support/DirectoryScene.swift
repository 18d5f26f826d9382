import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

/// One target `edge` with one or more nodes, each a HAProxy that loads a directory whole, two certificates `blog` and
/// `shop`, and the program.
final class DirectoryScene: Sendable {
    /// How the nodes are told.
    enum Method: String, Sendable, CaseIterable {
        case runtime, signal, master
        /// By the runtime API, and by the master where that cannot do it.
        case fallback
    }

    struct Node: Sendable {
        let name: String
        let directory: TemporaryDirectory
        let balancer: Balancer

        var id: String { "edge/\(name)" }
        var certificates: String { directory.path("certs") }
        func path(_ file: String) -> String { "\(certificates)/\(file)" }
        func contents(_ file: String) -> Data? { FileManager.default.contents(atPath: path(file)) }
        func write(_ contents: Data, _ file: String) throws { try directory.write(contents, to: "certs/\(file)") }

        /// SHA-256 of the leaf that a fresh handshake shows.
        func served(_ host: String) async throws -> String {
            let port = balancer.port
            return try await blocking.run {
                try TLSProbe(host: "127.0.0.1", port: port, serverName: host).run().leaf.record.sha256
            }
        }

        /// Sends one command to the admin socket.
        @discardableResult
        func ask(_ command: String, payload: Data? = nil) async throws -> String {
            try await blocking.run { try balancer.ask(command, payload: payload) }
        }

        /// Puts a bundle into HAProxy's memory, as another client would.
        func swap(_ file: String, to bundle: Data) async throws {
            try await ask("set ssl cert \(path(file)) <<", payload: bundle)
            let reply = try await ask("commit ssl cert \(path(file))")
            try #require(reply.contains("Success!"), "\(reply)")
        }
    }

    static let names = ["blog", "shop"]
    static func host(_ certificate: String) -> String { "\(certificate).example.com" }

    let directory: TemporaryDirectory
    let pki: TestPKI
    let nodes: [Node]
    let method: Method

    var configuration: String { directory.path("certs.yml") }
    var state: String { directory.path("state") }

    private init(_ method: Method, nodes count: Int) throws {
        self.method = method
        directory = try TemporaryDirectory(prefix: "certs-edge")
        let pki = try TestPKI()
        self.pki = pki
        nodes = try (1...count).map { number in
            let directory = try TemporaryDirectory(prefix: "certs-node")
            try FileManager.default.createDirectory(
                atPath: directory.path("certs"), withIntermediateDirectories: false)
            for name in Self.names {
                try directory.write(try pki.selfSigned([Self.host(name)]).bundle(chain: []), to: "certs/\(name).pem")
                chmod(directory.path("certs/\(name).pem"), 0o640)
            }
            let balancer = try Balancer(
                in: directory, crt: [directory.path("certs")], isMaster: method != .runtime)
            return Node(name: "edge-\(number)", directory: directory, balancer: balancer)
        }
        try writeConfiguration()
    }

    /// - Parameter rotates: whether both certificates are issued and deployed first.
    static func make(_ method: Method = .runtime, nodes: Int = 1, rotates: Bool = true) async throws -> DirectoryScene {
        let scene = try await blocking.run { try DirectoryScene(method, nodes: nodes) }
        for node in scene.nodes { try await node.balancer.start() }
        if rotates {
            try await scene.certs("rotate", "--all", exits: 0)
            try await scene.expectInOrder()
        }
        return scene
    }

    /// Writes `certs.yml`; `change` replaces its text first.
    func writeConfiguration(_ change: (String) -> String = { $0 }) throws {
        let certificates = Self.names.map {
            "  - { name: \($0), dnsNames: [\(Self.host($0))], issuer: local, targets: [edge] }"
        }
        let text = """
            version: 1
            state: ./state
            issuers:
              local: { type: local-ca, commonName: Scene CA, validity: 90d }
            certificates:
            \(certificates.joined(separator: "\n"))
            targets:
              - name: edge
                type: haproxy
                verifyWithin: 6s
                nodes:
            \(nodes.map(declaration).joined(separator: "\n"))

            """
        try directory.write(change(text), to: "certs.yml")
    }

    private func declaration(of node: Node) -> String {
        let reload =
            switch method {
            case .runtime, .fallback: "{ method: runtime, socket: \(node.balancer.socket) }"
            case .signal: "{ method: signal, pidFile: \(node.balancer.pidFile) }"
            case .master: "{ method: master, socket: \(node.balancer.masterSocket) }"
            }
        let fallback =
            method == .fallback ? "fallback: { method: master, socket: \(node.balancer.masterSocket) }" : ""
        return """
                  - name: \(node.name)
                    bundle: \(node.path("{name}.pem"))
                    list: { path: \(node.certificates) }
                    reload: \(reload)
                    endpoints: [ { address: "127.0.0.1:\(node.balancer.port)" } ]
                    \(fallback)
            """
    }

    // MARK: The program

    @discardableResult
    func certs(
        _ arguments: String..., exits status: Int32, fault: String? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Program.Outcome {
        let outcome = try await Program(
            arguments: [RotationScene.executable] + arguments + ["--config", configuration],
            environment: fault.map { ["CERTS_FAULT": $0] } ?? [:]
        ).run()
        #expect(outcome.status == status, "certs \(arguments): \(outcome.all)", sourceLocation: sourceLocation)
        return outcome
    }

    func decoded<Document: Decodable>(_: Document.Type, _ outcome: Program.Outcome) throws -> Document {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .iso8601
        do {
            return try decoder.decode(Document.self, from: outcome.output)
        } catch {
            throw Program.Failure(description: "no \(Document.self): \(error): \(outcome.all)")
        }
    }

    /// What the program says is declared: the fingerprint of the current revision of each certificate.
    func declared() async throws -> [String: String] {
        let status = try decoded(StatusDocument.self, try await certs("status", "-o", "json", exits: 0))
        return Dictionary(
            status.certificates.map { ($0.name, $0.sha256 ?? "") }, uniquingKeysWith: { first, _ in first })
    }

    /// The bundle of the current revision, as it has to lie on every disk.
    func bundle(_ certificate: String) -> Data? {
        FileManager.default.contents(atPath: "\(state)/live/\(certificate)/current/bundle.pem")
    }

    /// Expects that every node has on disk, in memory and in its handshakes exactly what is declared.
    func expectInOrder(_ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let declared = try await declared()
        for node in nodes {
            for name in Self.names {
                let place: Comment = "\(name) on \(node.name): \(comment?.rawValue ?? "")"
                let disk = try #require(node.contents("\(name).pem"), place, sourceLocation: sourceLocation)
                #expect(disk == bundle(name), place, sourceLocation: sourceLocation)
                let leaf = try #require(try CertificateReader.certificates(in: disk).first, place).record
                #expect(leaf.sha256 == declared[name], place, sourceLocation: sourceLocation)
                let memory = try await node.ask("show ssl cert \(node.path("\(name).pem"))")
                #expect(memory.lowercased().contains(leaf.sha1), place, sourceLocation: sourceLocation)
                #expect(memory.contains("Status: Used"), place, sourceLocation: sourceLocation)
                #expect(
                    try await node.served(Self.host(name)) == declared[name], place, sourceLocation: sourceLocation)
            }
            let list = try await node.ask("show ssl cert")
            #expect(!list.contains("# transaction"), comment, sourceLocation: sourceLocation)
        }
    }
}

extension DirectoryScene {
    /// Everything that a command without effect leaves as it is: every file of every node and of the state directory
    /// but the database's own, with inode, mode, time and bytes; the database's rows; and HAProxy's memory.
    func everything() async throws -> [String: String] {
        var found: [String: String] = [:]
        for node in nodes {
            found.merge(try Self.files(below: node.certificates)) { $1 }
            let list = try await node.ask("show ssl cert")
            found["\(node.name) stores"] = list
            for store in list.split(separator: "\n") where store.hasPrefix("/") {
                found["\(node.name) \(store)"] = try await node.ask("show ssl cert \(store)")
            }
            found["\(node.name) list"] = try await node.ask("show ssl crt-list -n \(node.certificates)")
            let process = try await node.ask("show info").split(separator: "\n").first { $0.hasPrefix("Pid:") }
            found["\(node.name) process"] = process.map(String.init)
        }
        for (path, text) in try Self.files(below: state) where !path.contains("certs.sqlite") { found[path] = text }
        found["rows"] = try await tool("sqlite3", "-readonly", "\(state)/certs.sqlite", ".dump")
        return found
    }

    /// Path to identity and digest.
    static func files(below root: String) throws -> [String: String] {
        var found: [String: String] = [:]
        for name in [""] + (FileManager.default.subpaths(atPath: root) ?? []) {
            let path = name.isEmpty ? root : "\(root)/\(name)"
            var status = stat()
            guard lstat(path, &status) == 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
            let contents = FileManager.default.contents(atPath: path).map {
                ContentDigest.sha256(of: Secret(copying: $0))
            }
            // What SQLite does with its own files is no change of the directory that holds them.
            let time = path.hasSuffix("/state") ? "" : "\(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec)"
            found[path] = "\(status.st_ino) \(status.st_mode) \(status.st_uid) \(time) \(contents ?? "")"
        }
        return found
    }

    /// The entries of two pictures that differ; empty when nothing was changed.
    static func difference(_ before: [String: String], _ after: [String: String]) -> [String] {
        Set(before.keys).union(after.keys).filter { before[$0] != after[$0] }.sorted()
            .map { "\($0): \(before[$0] ?? "nothing") → \(after[$0] ?? "nothing")" }
    }
}
