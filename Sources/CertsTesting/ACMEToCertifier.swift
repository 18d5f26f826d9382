import CertsCore
import CertsCrypto
import CertsHTTP
import Foundation

/// acme2certifier under gunicorn: an ACME CA with renewal information (RFC 9773) and profiles, which Pebble 2.4.0 lacks.
///
/// It finalizes at once, knows no alternate chains, accepts any `replaces`, and sends no `Retry-After` for orders.
/// `scripts/python-environment` installs it, once. After ``restart(_:)`` it has the same address, CA and database.
package final class ACMEToCertifier: Sendable {
    package struct Options: Sendable {
        /// Name and the URL that explains it.
        package var profiles: [String: String]
        /// Of the leaf.
        package var validityDays: Int
        package var termsOfService: String?
        package var caaIdentities: [String]
        /// The window that is suggested for every certificate lies in the past.
        package var renewsAtOnce: Bool
        /// The suggested window begins when so many percent of the lifetime are over.
        package var renewalThreshold: Double
        /// Sent with renewal information, in seconds.
        package var retryAfter: Int
        /// Whether it looks for the answers of challenges; `http-01` then goes to port 80.
        package var validatesChallenges: Bool
        /// More lines of its configuration, by section.
        package var more: [String: [String]]

        package init(
            profiles: [String: String] = [:], validityDays: Int = 30, termsOfService: String? = nil,
            caaIdentities: [String] = [], renewsAtOnce: Bool = false, renewalThreshold: Double = 85,
            retryAfter: Int = 21_600, validatesChallenges: Bool = false, more: [String: [String]] = [:]
        ) {
            self.profiles = profiles
            self.validityDays = validityDays
            self.termsOfService = termsOfService
            self.caaIdentities = caaIdentities
            self.renewsAtOnce = renewsAtOnce
            self.renewalThreshold = renewalThreshold
            self.retryAfter = retryAfter
            self.validatesChallenges = validatesChallenges
            self.more = more
        }
    }

    package let directoryURL: String
    /// PEM file of the root to trust for the connection.
    package let caFile: String
    /// PEM file of the root of what it issues.
    package let anchorsFile: String
    private let directory: TemporaryDirectory
    private let configurationFile: String
    private let caFiles: [String]
    private let process: ServerProcess

    /// Starts it and returns when it answers.
    package static func start(
        in directory: TemporaryDirectory, _ options: Options = Options()
    ) async throws -> ACMEToCertifier {
        try await BlockingPool.network.run {
            let server = try ACMEToCertifier(in: directory, environment: PythonEnvironment.directory("acme2certifier"))
            try server.start(options)
            return server
        }
    }

    /// Ends it and starts it again, with other options.
    package func restart(_ options: Options) async throws {
        try await BlockingPool.network.run { [self] in
            stop()
            try start(options)
        }
    }

    package func stop() { process.stop() }
    package var output: String { process.output }

    private init(in directory: TemporaryDirectory, environment: String) throws {
        let port = try LoopbackPort.reserve()
        let name = "acme2certifier-\(port)"
        directoryURL = "https://127.0.0.1:\(port)/directory"
        self.directory = directory
        configurationFile = directory.path("\(name).cfg")
        let tls = try ServerIdentity.make(in: directory, name: name)
        caFile = tls.caFile
        let now = Date()
        let pki = try TestPKI(now: now)
        anchorsFile = try directory.write(pki.root.certificate.pem, to: "\(name)-root.pem")
        caFiles = [
            try directory.write(pki.intermediate.keyPEM, to: "\(name)-issuing-key.pem"),
            try directory.write(pki.intermediate.certificate.pem, to: "\(name)-issuing.pem"),
            directory.path("\(name)-crl.pem"),
        ]
        process = ServerProcess(
            [
                "\(environment)/bin/gunicorn", "--bind", "127.0.0.1:\(port)", "--certfile", tls.certificateFile,
                "--keyfile", tls.keyFile, "--threads", "4", "--no-control-socket", "--pythonpath",
                try Self.sharedFiles(environment), "acme2certifier_wsgi:application",
            ],
            environment: ["ACME_SRV_CONFIGFILE": configurationFile, "ACME2CERTIFIER_I_KNOW_THE_RISK": "1"],
            directory: directory.path, log: directory.path("\(name).log"))
    }

    private func start(_ options: Options) throws {
        try directory.write(configuration(options), to: URL(filePath: configurationFile).lastPathComponent)
        let client = HTTPClient(caFile: caFile)
        let request = HTTPRequest(.get, directoryURL, limits: .init(deadline: .seconds(2), idle: .seconds(1)))
        try process.start { (try? client.sendBlocking(request))?.isSuccess == true }
    }

    private func configuration(_ options: Options) throws -> String {
        let json = JSONEncoder()
        json.outputFormatting = .withoutEscapingSlashes
        func text(_ value: some Encodable) throws -> String { String(decoding: try json.encode(value), as: UTF8.self) }
        var sections: [(name: String, lines: [String])] = [
            ("DEFAULT", ["debug: False"]),
            ("Nonce", ["nonce_check_disable: False"]),
            ("DBhandler", ["handler: wsgi", "dbfile: \(configurationFile).sqlite"]),
            (
                "CAhandler",
                [
                    "handler_module: acme2certifier.cahandlers.openssl_ca_handler", "issuing_ca_key: \(caFiles[0])",
                    "issuing_ca_cert: \(caFiles[1])", "issuing_ca_crl: \(caFiles[2])",
                    "cert_save_path: \(directory.path)", "cert_validity_days: \(options.validityDays)",
                    "ca_cert_chain_list: []",
                ]
            ),
            ("Challenge", ["challenge_validation_disable: \(options.validatesChallenges ? "False" : "True")"]),
            (
                "Directory",
                ["caaidentities: \(try text(options.caaIdentities))"]
                    + (options.termsOfService.map { ["tos_url: \($0)"] } ?? [])
            ),
            ("Order", options.profiles.isEmpty ? [] : ["profiles: \(try text(options.profiles))"]),
            (
                "Renewalinfo",
                [
                    "renewal_force: \(options.renewsAtOnce ? "True" : "False")",
                    "renewalthreshold_pctg: \(options.renewalThreshold)", "retry_after_timeout: \(options.retryAfter)",
                ]
            ),
        ]
        for (name, lines) in options.more.sorted(by: { $0.key < $1.key }) {
            if let index = sections.firstIndex(where: { $0.name == name }) {
                sections[index].lines += lines
            } else {
                sections.append((name, lines))
            }
        }
        return sections.map { "[\($0.name)]\n" + $0.lines.map { "\($0)\n" }.joined() }.joined(separator: "\n")
    }

    /// Where the package keeps its WSGI program.
    private static func sharedFiles(_ environment: String) throws -> String {
        let library = URL(filePath: environment).appending(path: "lib")
        for version in try FileManager.default.contentsOfDirectory(atPath: library.path) {
            let shared = library.appending(path: "\(version)/site-packages/acme2certifier/share").path
            if FileManager.default.fileExists(atPath: "\(shared)/acme2certifier_wsgi.py") { return shared }
        }
        throw Tool.Failure(description: "acme2certifier is not in \(environment)")
    }
}
