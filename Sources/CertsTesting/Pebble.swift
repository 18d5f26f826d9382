import CertsCore
import CertsCrypto
import CertsHTTP
package import Foundation

/// Debian's Pebble, an ACME CA for tests: on free loopback ports, with a TLS certificate of its own, and with
/// `pebble-challtestsrv` as its DNS.
///
/// Version 2.4.0 accepts and ignores `profile` and `replaces`, and has no renewal information and no `Retry-After`:
/// a test of those proves nothing here.
package final class Pebble: Sendable {
    package struct Options: Sendable {
        /// Where `http-01` and `tls-alpn-01` are validated; `nil`: a reserved free port.
        package var httpPort: Int?
        package var tlsPort: Int?
        /// Key identifiers and base64url MAC keys (RFC 8555 §7.3.4).
        package var externalAccounts: [String: String]
        package var requiresExternalAccount: Bool
        /// Of the leaf, in seconds; `nil`: five years.
        package var validity: Int?
        /// Names that are refused, with all below them.
        package var blockedDomains: [String]
        package var isStrict: Bool
        /// Of 100 good nonces so many are refused.
        package var nonceRejections: Int
        /// Of 100 authorizations so many are used again.
        package var authorizationReuse: Int
        package var alternateRoots: Int
        /// Intermediates in a chain.
        package var chainLength: Int
        /// Every challenge is valid without a look.
        package var isAlwaysValid: Bool
        /// More variables of its environment.
        package var environment: [String: String]

        package init(
            httpPort: Int? = nil, tlsPort: Int? = nil, externalAccounts: [String: String] = [:],
            requiresExternalAccount: Bool = false, validity: Int? = nil, blockedDomains: [String] = [],
            isStrict: Bool = true, nonceRejections: Int = 0, authorizationReuse: Int = 0, alternateRoots: Int = 0,
            chainLength: Int = 1, isAlwaysValid: Bool = false, environment: [String: String] = [:]
        ) {
            self.httpPort = httpPort
            self.tlsPort = tlsPort
            self.externalAccounts = externalAccounts
            self.requiresExternalAccount = requiresExternalAccount
            self.validity = validity
            self.blockedDomains = blockedDomains
            self.isStrict = isStrict
            self.nonceRejections = nonceRejections
            self.authorizationReuse = authorizationReuse
            self.alternateRoots = alternateRoots
            self.chainLength = chainLength
            self.isAlwaysValid = isAlwaysValid
            self.environment = environment
        }

        fileprivate var variables: [String: String] {
            [
                "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "\(nonceRejections)",
                "PEBBLE_AUTHZREUSE": "\(authorizationReuse)", "PEBBLE_ALTERNATE_ROOTS": "\(alternateRoots)",
                "PEBBLE_CHAIN_LENGTH": "\(chainLength)", "PEBBLE_VA_ALWAYS_VALID": isAlwaysValid ? "1" : "0",
            ].merging(environment) { $1 }
        }
    }

    /// Of the directory resource (RFC 8555 §7.1.1).
    package let directoryURL: String
    /// PEM file of the root to trust for the connection to Pebble; not the root of what it issues.
    package let caFile: String
    package let httpPort: Int
    package let tlsPort: Int
    package let dns: ChallTestServer
    private let management: String
    private let directory: TemporaryDirectory
    private let process: ServerProcess

    /// Starts it and returns when it answers.
    ///
    /// - Parameter dns: `nil`: one of its own.
    package static func start(
        in directory: TemporaryDirectory, _ options: Options = Options(), dns: ChallTestServer? = nil
    ) async throws -> Pebble {
        try await BlockingPool.network.run {
            try Pebble(in: directory, options, dns: dns ?? ChallTestServer(in: directory))
        }
    }

    private init(in directory: TemporaryDirectory, _ options: Options, dns: ChallTestServer) throws {
        let port = try LoopbackPort.reserve()
        let managementPort = try LoopbackPort.reserve()
        httpPort = try options.httpPort ?? LoopbackPort.reserve()
        tlsPort = try options.tlsPort ?? LoopbackPort.reserve()
        directoryURL = "https://127.0.0.1:\(port)/dir"
        management = "https://127.0.0.1:\(managementPort)"
        self.dns = dns
        self.directory = directory
        let tls = try ServerIdentity.make(in: directory, name: "pebble-\(port)")
        caFile = tls.caFile
        let configuration = Configuration(
            pebble: .init(
                listenAddress: "127.0.0.1:\(port)", managementListenAddress: "127.0.0.1:\(managementPort)",
                certificate: tls.certificateFile, privateKey: tls.keyFile, httpPort: httpPort, tlsPort: tlsPort,
                ocspResponderURL: "", externalAccountBindingRequired: options.requiresExternalAccount,
                externalAccountMACKeys: options.externalAccounts, domainBlocklist: options.blockedDomains,
                certificateValidityPeriod: options.validity))
        let file = try directory.write(JSONEncoder().encode(configuration), to: "pebble-\(port).json")
        process = ServerProcess(
            ["pebble"] + (options.isStrict ? ["-strict"] : []) + ["-config", file, "-dnsserver", dns.dnsAddress],
            environment: options.variables, directory: directory.path, log: directory.path("pebble-\(port).log"))
        let client = HTTPClient(caFile: caFile)
        try process.start { [directoryURL, management] in
            [directoryURL, "\(management)/roots/0"].allSatisfy { Self.answers($0, client) }
        }
    }

    /// Ends the CA; its DNS goes on.
    package func stop() { process.stop() }

    /// What it printed: each request, validation and problem.
    package var output: String { process.output }

    // MARK: What its management port says

    /// The root of what it issues, as PEM: 0 is the default one, then the alternates.
    package func root(_ index: Int = 0) async throws -> Data { try await ask("roots/\(index)") }
    package func intermediate(_ index: Int = 0) async throws -> Data { try await ask("intermediates/\(index)") }

    /// The roots of what it issues, in one PEM file.
    package func anchorsFile(alternateRoots: Int = 0) async throws -> String {
        var roots = Data()
        for index in 0...alternateRoots { roots += try await root(index) }
        return try directory.write(roots, to: "pebble-roots-\(UUID().uuidString).pem")
    }

    /// What the CA says of a certificate that it issued.
    package struct Status: Decodable, Sendable {
        /// `Valid` or `Revoked`.
        package let status: String
        /// RFC 5280 §5.3.1.
        package let reason: Int?

        private enum CodingKeys: String, CodingKey {
            case status = "Status"
            case reason = "Reason"
        }
    }

    /// - Parameter serial: hexadecimal.
    package func status(serial: String) async throws -> Status {
        try JSONDecoder().decode(Status.self, from: try await ask("cert-status-by-serial/\(serial)"))
    }

    private func ask(_ path: String) async throws -> Data {
        let response = try await HTTPClient(caFile: caFile).send(HTTPRequest(.get, "\(management)/\(path)"))
        guard response.isSuccess else {
            throw Tool.Failure(description: "Pebble has no \(path): status \(response.status)")
        }
        return response.body
    }

    private static func answers(_ url: String, _ client: HTTPClient) -> Bool {
        let request = HTTPRequest(.get, url, limits: .init(deadline: .seconds(2), idle: .seconds(1)))
        return (try? client.sendBlocking(request))?.isSuccess == true
    }

    private struct Configuration: Encodable {
        struct Section: Encodable {
            let listenAddress: String
            let managementListenAddress: String
            let certificate: String
            let privateKey: String
            let httpPort: Int
            let tlsPort: Int
            let ocspResponderURL: String
            let externalAccountBindingRequired: Bool
            let externalAccountMACKeys: [String: String]
            let domainBlocklist: [String]
            let certificateValidityPeriod: Int?
        }
        let pebble: Section
    }
}
