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
    package var notifications: NotificationsDeclaration
    package var watch: WatchDeclaration
    package var maintenance: MaintenanceDeclaration

    package init(
        stateDirectory: String, issuers: [IssuerDeclaration] = [], certificates: [CertificateDeclaration] = [],
        targets: [TargetDeclaration] = [], server: ServerDeclaration = .init(), schedule: ScheduleDeclaration = .init(),
        notifications: NotificationsDeclaration = .init(), watch: WatchDeclaration = .init(),
        maintenance: MaintenanceDeclaration = .init()
    ) {
        self.stateDirectory = stateDirectory
        self.issuers = issuers
        self.certificates = certificates
        self.targets = targets
        self.server = server
        self.schedule = schedule
        self.notifications = notifications
        self.watch = watch
        self.maintenance = maintenance
    }

    /// The nodes of the targets of `certificate`, in the order in which they are deployed.
    package func nodes(of certificate: CertificateDeclaration) -> [NodeDeclaration] {
        certificate.targets.flatMap { name in targets.first { $0.name == name }?.nodes ?? [] }
    }
}

/// A managed identity: names, key policy, issuer, targets.
package struct CertificateDeclaration: Sendable, Hashable {
    package var name: Name
    package var subject: Subject
    /// Canonical, without duplicates, in the order of the configuration.
    package var names: [AlternativeName]
    package var key: KeyPolicy
    /// The preferred issuer.
    package var issuer: Name
    /// Who is asked when the preferred issuer fails, in order.
    package var otherIssuers: [Name]
    package var renewal: RenewalPolicy
    package var targets: [Name]
    /// Whether the leaf is deployed with an OCSP response of its issuer's responder (RFC 6066 §8).
    package var staple: Bool
    /// The windows that its deployments wait for, as long as that is safe; `nil`: they do not wait.
    package var window: WindowDeclaration?

    package init(
        name: Name, subject: Subject = .init(), names: [AlternativeName], key: KeyPolicy = .init(), issuer: Name,
        otherIssuers: [Name] = [], renewal: RenewalPolicy = .init(), targets: [Name] = [], staple: Bool = false,
        window: WindowDeclaration? = nil
    ) {
        self.name = name
        self.subject = subject
        self.names = names
        self.key = key
        self.issuer = issuer
        self.otherIssuers = otherIssuers
        self.renewal = renewal
        self.targets = targets
        self.staple = staple
        self.window = window
    }

    /// All issuers, in order of preference.
    package var issuers: [Name] { [issuer] + otherIssuers }

    /// What an issued revision is compared with: a change of any of it makes the certificate due.
    package var requested: RequestedProperties { requested(from: issuer) }

    /// The same for a revision that `issuer` signed.
    package func requested(from issuer: Name) -> RequestedProperties {
        RequestedProperties(subject: subject, names: names.sorted(), keyAlgorithms: key.algorithms, issuer: issuer)
    }
}

/// The part of a declaration that a revision embodies.
package struct RequestedProperties: Sendable, Hashable, Codable {
    package var subject: Subject
    /// Sorted.
    package var names: [AlternativeName]
    /// One leaf for each, in this order.
    package var keyAlgorithms: [KeyAlgorithm]
    package var issuer: Name

    enum CodingKeys: String, CodingKey {
        case subject, names, keyAlgorithms, issuer
    }

    package init(subject: Subject, names: [AlternativeName], keyAlgorithms: [KeyAlgorithm], issuer: Name) {
        self.subject = subject
        self.names = names
        self.keyAlgorithms = keyAlgorithms
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
        case acme(ACMEDeclaration)
    }

    package init(name: Name, kind: Kind) {
        self.name = name
        self.kind = kind
    }

    package var isAskedOverTheNetwork: Bool { if case .acme = kind { true } else { false } }

    /// The word in `type:`.
    package var typeName: String {
        switch kind {
        case .selfSigned: "self-signed"
        case .localCA: "local-ca"
        case .handOff: "hand-off"
        case .acme: "acme"
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
