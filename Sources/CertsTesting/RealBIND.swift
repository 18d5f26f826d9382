package import CertsCore
import Foundation

/// Debian's BIND (`named`), started on a loopback address with zones of its own, ended by its own pid.
///
/// It never asks anybody else: it holds the root zone itself.
package final class RealBIND: Sendable {
    package let address: SocketAddress
    /// Pass questions on where BIND cannot listen: it takes only addresses that an interface names, of the loopback
    /// `127.0.0.1` alone.
    private let relays: [ServerProcess]
    private let process: ServerProcess

    package struct Failed: Error, CustomStringConvertible {
        package let description: String
    }

    /// A zone to serve.
    package struct Zone: Sendable {
        package enum Role: Sendable {
            /// Takes updates of TXT records signed with ``RealBIND/keyName``, or with no key at all.
            case primary(takesUnsigned: Bool = false)
            /// Copies the zone from there, looking for changes once a second.
            case secondary(of: SocketAddress)
            /// Its file is missing: SERVFAIL.
            case broken
        }

        package var name: String
        package var role: Role
        /// Lines of the zone file after SOA and NS, `@` being the zone.
        package var records: String
        /// Lines `NAME` of the servers; addresses belong into `records`.
        package var servers: [String]

        package init(
            _ name: String, _ role: Role = .primary(), servers: [String] = ["ns1"], records: String = "ns1 A 127.0.0.1"
        ) {
            self.name = name
            self.role = role
            self.servers = servers
            self.records = records
        }
    }

    package static let executable = "/usr/sbin/named"
    package static let keyName = "certs-key"
    /// Base64 of the secrets of `certs-key` (hmac-sha256) and `certs-key-512` (hmac-sha512).
    package static let secret = Data("the secret of the tests, 32 byte".utf8).base64EncodedString()

    /// Starts it and returns when it answers.
    ///
    /// - Parameters:
    ///   - address: `127.0.0.1`, or another address of the loopback.
    ///   - port: `nil`: a free one. Servers of one zone share a port.
    package static func start(
        in directory: TemporaryDirectory, address: String = "127.0.0.1", port: Int? = nil, zones: [Zone]
    ) async throws -> RealBIND {
        let port = try port ?? LoopbackPort.reserve()
        guard let address = SocketAddress("\(address):\(port)") else { throw POSIXError(.EINVAL) }
        // Off the cooperative pool: waiting there would delay what other tests measure.
        return try await BlockingPool.network.run { try RealBIND(in: directory, address, zones) }
    }

    private init(in directory: TemporaryDirectory, _ address: SocketAddress, _ zones: [Zone]) throws {
        guard FileManager.default.isExecutableFile(atPath: Self.executable) else {
            throw Failed(description: "\(Self.executable) is not installed: apt-get install bind9")
        }
        self.address = address
        let isRelayed = address.address.description != "127.0.0.1"
        let port = isRelayed ? try LoopbackPort.reserve() : address.port
        guard let own = SocketAddress("127.0.0.1:\(port)") else { throw POSIXError(.EINVAL) }
        relays =
            isRelayed
            ? ["UDP4", "TCP4"].map { transport in
                ServerProcess(
                    [
                        "socat", "\(transport)-LISTEN:\(address.port),bind=\(address.address),fork,reuseaddr",
                        "\(transport):\(own)",
                    ], directory: directory.path, log: directory.path("relay-\(address.address)-\(transport).log"))
            } : []
        let folder = directory.path("bind-\(address.address)")
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        var text = Self.options(own, folder)
        for zone in zones + [Zone(".", servers: ["ns.root."], records: "ns.root. A \(address.address)")] {
            text += try Self.statement(zone, folder)
        }
        try Data(text.utf8).write(to: URL(filePath: "\(folder)/named.conf"))
        process = ServerProcess(
            [Self.executable, "-g", "-4", "-n", "1", "-c", "\(folder)/named.conf"], directory: folder,
            log: "\(folder)/named.log")
        try process.start { [process] in
            process.output.contains("\nrunning") || process.output.contains(" running\n")
        }
        for relay in relays { try relay.start { true } }
        // Both at once: the one for UDP cannot be asked whether it listens.
        if isRelayed { usleep(200_000) }
    }

    deinit { stop() }

    /// What it logged.
    package var output: String { process.output }

    /// Ends it, gently first.
    package func stop() {
        for relay in relays { relay.stop() }
        process.stop()
    }

    private static func options(_ address: SocketAddress, _ folder: String) -> String {
        """
        options {
            directory "\(folder)";
            pid-file "\(folder)/named.pid";
            session-keyfile none;
            lock-file none;
            listen-on port \(address.port) { \(address.address); };
            listen-on-v6 { none; };
            query-source address \(address.address);
            transfer-source \(address.address);
            recursion yes;
            allow-query { any; };
            allow-recursion { any; };
            allow-transfer { any; };
            notify no;
            min-refresh-time 1;
            max-refresh-time 1;
            dnssec-validation no;
            empty-zones-enable no;
        };
        controls { };
        key "\(keyName)" { algorithm hmac-sha256; secret "\(secret)"; };
        key "\(keyName)-512" { algorithm hmac-sha512; secret "\(secret)"; };

        """
    }

    private static func statement(_ zone: Zone, _ folder: String) throws -> String {
        let file = "\(folder)/\(zone.name == "." ? "root" : zone.name).zone"
        switch zone.role {
        case .broken: return "zone \"\(zone.name)\" { type primary; file \"\(file).missing\"; };\n"
        case .secondary(let primary):
            return """
                zone "\(zone.name)" {
                    type secondary; file "\(file)"; masterfile-format text;
                    primaries { \(primary.address) port \(primary.port); };
                };

                """
        case .primary(let takesUnsigned):
            let servers = zone.servers.map { "@ NS \($0)" }.joined(separator: "\n")
            let text = """
                $TTL 5
                @ SOA \(zone.servers.first ?? "ns1") hostmaster 1 1 1 3600 1
                \(servers)
                \(zone.records)

                """
            try Data(text.utf8).write(to: URL(filePath: file))
            let policy =
                takesUnsigned
                ? "allow-update { 127.0.0.0/8; };"
                : "update-policy { grant \(keyName) zonesub TXT; grant \(keyName)-512 zonesub TXT; };"
            return "zone \"\(zone.name)\" { type primary; file \"\(file)\"; \(policy) };\n"
        }
    }
}
