package import Foundation

/// The whole configuration file as values: checked, with every reference resolved and every path absolute.
package struct Declarations: Sendable {
    /// The state directory, an absolute path.
    package var stateDirectory: String
    package var issuers: [IssuerDeclaration]
    package var certificates: [CertificateDeclaration]
    package var targets: [TargetDeclaration]
    package var server: ServerDeclaration
    package var schedule: ScheduleDeclaration

    package init(
        stateDirectory: String, issuers: [IssuerDeclaration] = [], certificates: [CertificateDeclaration] = [],
        targets: [TargetDeclaration] = [], server: ServerDeclaration = .init(), schedule: ScheduleDeclaration = .init()
    ) {
        self.stateDirectory = stateDirectory
        self.issuers = issuers
        self.certificates = certificates
        self.targets = targets
        self.server = server
        self.schedule = schedule
    }
}

/// A managed identity: names, key policy, issuer, targets.
package struct CertificateDeclaration: Sendable, Hashable {
    package var name: Name
    package var subject: Subject
    /// Canonical, without duplicates, in the order of the configuration.
    package var names: [AlternativeName]
    package var key: KeyPolicy
    package var issuer: Name
    package var renewal: RenewalPolicy
    package var targets: [Name]

    package init(
        name: Name, subject: Subject = .init(), names: [AlternativeName], key: KeyPolicy = .init(), issuer: Name,
        renewal: RenewalPolicy = .init(), targets: [Name] = []
    ) {
        self.name = name
        self.subject = subject
        self.names = names
        self.key = key
        self.issuer = issuer
        self.renewal = renewal
        self.targets = targets
    }

    /// What an issued revision is compared with: a change of any of it makes the certificate due.
    package var requested: RequestedProperties {
        RequestedProperties(subject: subject, names: names.sorted(), keyAlgorithm: key.algorithm, issuer: issuer)
    }
}

/// The part of a declaration that a revision embodies.
package struct RequestedProperties: Sendable, Hashable, Codable {
    package var subject: Subject
    /// Sorted.
    package var names: [AlternativeName]
    package var keyAlgorithm: KeyAlgorithm
    package var issuer: Name

    package init(subject: Subject, names: [AlternativeName], keyAlgorithm: KeyAlgorithm, issuer: Name) {
        self.subject = subject
        self.names = names
        self.keyAlgorithm = keyAlgorithm
        self.issuer = issuer
    }
}

/// A configured way to get a signature.
package struct IssuerDeclaration: Sendable, Hashable {
    package var name: Name
    package var kind: Kind

    package enum Kind: Sendable, Hashable {
        case selfSigned(validity: TimeInterval)
        case localCA(LocalAuthorityPolicy)
        /// A CSR goes out, a certificate comes back by `certs import`; `anchorsFile` holds the roots it must chain to.
        case handOff(anchorsFile: String?)
    }

    package init(name: Name, kind: Kind) {
        self.name = name
        self.kind = kind
    }

    /// The word in `type:`.
    package var typeName: String {
        switch kind {
        case .selfSigned: "self-signed"
        case .localCA: "local-ca"
        case .handOff: "hand-off"
        }
    }
}

/// How the embedded local CA is made and what it issues.
package struct LocalAuthorityPolicy: Sendable, Hashable {
    package var commonName: String
    /// Of the leaves, in seconds.
    package var validity: TimeInterval
    package var keyAlgorithm: KeyAlgorithm
    /// DNS subtrees and CIDR blocks that the CA may issue for (RFC 5280 §4.2.1.10); empty: no constraint.
    package var permittedNames: [String]

    package init(
        commonName: String, validity: TimeInterval = 90 * 86400, keyAlgorithm: KeyAlgorithm = .ecdsaP256,
        permittedNames: [String] = []
    ) {
        self.commonName = commonName
        self.validity = validity
        self.keyAlgorithm = keyAlgorithm
        self.permittedNames = permittedNames
    }
}

/// Where a bundle goes: one HAProxy, its file, its reload method, its endpoints.
package struct TargetDeclaration: Sendable, Hashable {
    package var name: Name
    /// Absolute; `{name}` stands for the certificate's name.
    package var bundle: String
    package var reload: ReloadMethod
    package var endpoints: [Endpoint]
    /// How long the endpoints may take to serve the new certificate after the reload.
    package var verifyWithin: Duration
    /// A command that must succeed before HAProxy is asked to reload, e.g. `haproxy -c -q -f FILE`.
    package var validate: CommandLine?

    package init(
        name: Name, bundle: String, reload: ReloadMethod, endpoints: [Endpoint], verifyWithin: Duration = .seconds(15),
        validate: CommandLine? = nil
    ) {
        self.name = name
        self.bundle = bundle
        self.reload = reload
        self.endpoints = endpoints
        self.verifyWithin = verifyWithin
        self.validate = validate
    }

    /// The path of the bundle of `certificate`.
    package func bundlePath(for certificate: Name) -> String {
        bundle.replacingOccurrences(of: "{name}", with: certificate.rawValue)
    }
}

/// How HAProxy is made to use a new bundle.
package enum ReloadMethod: Sendable, Hashable {
    /// Hot swap through the runtime API at this Unix socket; HAProxy's process and connections stay (manual §9.3).
    case runtime(socket: String)
    /// A signal to the process whose pid is in the file.
    case signal(pidFile: String, signal: ReloadSignal)
    /// An argument vector, never a shell.
    case command(CommandLine)

    /// The word in `method:`.
    package var word: String {
        switch self {
        case .runtime: "runtime"
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

/// An address, port and server name that serves a certificate.
package struct Endpoint: Sendable, Hashable, Codable {
    /// A DNS name or an IP address without brackets.
    package var host: String
    package var port: Int
    /// The SNI to send and the name to check; `nil`: each name of the certificate in question.
    package var serverName: String?

    package init(host: String, port: Int, serverName: String? = nil) {
        self.host = host
        self.port = port
        self.serverName = serverName
    }

    /// `127.0.0.1:443`, `[::1]:443`.
    package var address: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// Parses `HOST:PORT` and `[IPV6]:PORT`.
    package init?(address: String, serverName: String? = nil) {
        guard let colon = address.lastIndex(of: ":"),
            let port = UInt16(address[address.index(after: colon)...]), port > 0
        else { return nil }
        var host = address[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            return nil
        }
        guard !host.isEmpty, host.utf8.count <= 253, !host.contains(where: \.isWhitespace) else { return nil }
        self.init(host: String(host), port: Int(port), serverName: serverName)
    }
}

/// The exporter's listener.
package struct ServerDeclaration: Sendable, Hashable {
    package var host: String
    package var port: Int

    package init(host: String = "127.0.0.1", port: Int = 9219) {
        self.host = host
        self.port = port
    }
}

/// When the planner runs.
package struct ScheduleDeclaration: Sendable, Hashable {
    /// Between two ticks of `certs serve`, in seconds.
    package var tick: TimeInterval
    /// The longest random delay added to a tick, in seconds.
    package var jitter: TimeInterval
    /// Between two runs of the renewal timer that renews what is due: what becomes due before the next run counts as
    /// due now. In seconds; a day unless `certs serve` is the only timer.
    package var timerInterval: TimeInterval
    /// How many rotations may run at the same time.
    package var concurrency: Int

    package init(
        tick: TimeInterval = 3600, jitter: TimeInterval = 300, timerInterval: TimeInterval = 86400, concurrency: Int = 4
    ) {
        self.tick = tick
        self.jitter = jitter
        self.timerInterval = timerInterval
        self.concurrency = concurrency
    }
}
