package import Foundation

/// An issuer of type `acme` as configured (RFC 8555).
package struct ACMEDeclaration: Sendable, Hashable {
    /// The URL of the directory resource (RFC 8555 §7.1.1), `https`.
    package var directory: String
    /// PEM file of the only CAs to trust for the connection to the server; `nil`: the system's.
    package var caFile: String?
    /// PEM file of the roots that issued certificates must chain to; `nil`: not checked.
    package var anchorsFile: String?
    /// URLs, usually `mailto:` (RFC 8555 §7.3).
    package var contact: [String]
    /// Whether a person has agreed to the CA's terms of service, whatever they are now.
    package var acceptTerms: Bool
    package var accountKey: KeyAlgorithm
    package var externalAccount: ExternalAccount?
    package var profile: Profile?
    package var preferredChain: PreferredChain?
    /// The lifetime to ask for with `notAfter`, in seconds; `nil`: what the CA gives.
    package var validity: TimeInterval?
    /// In order of preference; the first that fits a name and that the server offers for it is used.
    package var challenges: [ChallengeDeclaration]
    package var limits: IssuanceLimits
    /// Whether the CA is asked when to renew (RFC 9773).
    package var usesRenewalInfo: Bool

    package init(
        directory: String, caFile: String? = nil, anchorsFile: String? = nil, contact: [String] = [],
        acceptTerms: Bool = false, accountKey: KeyAlgorithm = .ecdsaP256, externalAccount: ExternalAccount? = nil,
        profile: Profile? = nil, preferredChain: PreferredChain? = nil, validity: TimeInterval? = nil,
        challenges: [ChallengeDeclaration] = [], limits: IssuanceLimits = .none, usesRenewalInfo: Bool = true
    ) {
        self.directory = directory
        self.caFile = caFile
        self.anchorsFile = anchorsFile
        self.contact = contact
        self.acceptTerms = acceptTerms
        self.accountKey = accountKey
        self.externalAccount = externalAccount
        self.profile = profile
        self.preferredChain = preferredChain
        self.validity = validity
        self.challenges = challenges
        self.limits = limits
        self.usesRenewalInfo = usesRenewalInfo
    }

    /// External account binding (RFC 8555 §7.3.4).
    package struct ExternalAccount: Sendable, Hashable {
        package var keyID: String
        /// The file with the MAC key, base64url as the CA hands it out.
        package var keyFile: String
        package var algorithm: Algorithm

        package enum Algorithm: String, Sendable, Hashable, CaseIterable {
            case hs256 = "HS256"
            case hs384 = "HS384"
            case hs512 = "HS512"
        }

        package init(keyID: String, keyFile: String, algorithm: Algorithm = .hs256) {
            self.keyID = keyID
            self.keyFile = keyFile
            self.algorithm = algorithm
        }
    }

    /// A certificate profile (draft-ietf-acme-profiles).
    package struct Profile: Sendable, Hashable {
        package var name: String
        /// Refuse to order where the server does not advertise it, instead of ordering without.
        package var isRequired: Bool

        package init(name: String, isRequired: Bool = false) {
            self.name = name
            self.isRequired = isRequired
        }
    }

    /// Which of the chains that the CA offers (RFC 8555 §7.4.2) to take.
    package enum PreferredChain: Sendable, Hashable {
        /// The common name of the issuer of the topmost certificate, or of any certificate in the chain.
        case rootName(String)
        /// Of any certificate in the chain.
        case fingerprint(Fingerprint)
    }
}

/// The type of a challenge, as the server spells it.
package enum ChallengeType: String, Sendable, Hashable, Codable, CaseIterable {
    /// RFC 8555 §8.3.
    case http01 = "http-01"
    /// RFC 8555 §8.4.
    case dns01 = "dns-01"
    /// RFC 8737.
    case tlsALPN01 = "tls-alpn-01"
    /// draft-ietf-acme-dns-account-label.
    case dnsAccount01 = "dns-account-01"
    /// draft-ietf-acme-dns-persist.
    case dnsPersist01 = "dns-persist-01"
}

/// How the challenges of one type are answered.
package struct ChallengeDeclaration: Sendable, Hashable {
    package var method: Method
    /// The names that it is for: `example.com` (with all below it), `*.example.com` (the wildcards there only), an IP
    /// address; empty: all.
    package var names: [String]
    /// Look from the outside path before the CA is told.
    package var selfCheck: SelfCheck

    package enum Method: Sendable, Hashable {
        case http01(HTTP01)
        case tlsALPN01(listen: SocketAddress)
        case dns01(DNSProvider, Propagation)
        case dnsAccount01(DNSProvider, Propagation)
        case dnsPersist01(DNSProvider, Propagation)
    }

    package enum HTTP01: Sendable, Hashable {
        case listen(SocketAddress)
        /// Files are written to `DIRECTORY/TOKEN`, that somebody serves below `/.well-known/acme-challenge/`.
        case directory(String)
    }

    package init(method: Method, names: [String] = [], selfCheck: SelfCheck = .init()) {
        self.method = method
        self.names = names
        self.selfCheck = selfCheck
    }

    package var type: ChallengeType {
        switch method {
        case .http01: .http01
        case .tlsALPN01: .tlsALPN01
        case .dns01: .dns01
        case .dnsAccount01: .dnsAccount01
        case .dnsPersist01: .dnsPersist01
        }
    }
}

/// How we look at our own answer, the way the CA will.
package struct SelfCheck: Sendable, Hashable {
    package var isEnabled: Bool
    /// Connect here instead of where the DNS says, e.g. when the public address cannot be reached from inside.
    package var address: SocketAddress?
    /// The port that the CA will come to; 80 or 443 unless the CA is a private one.
    package var port: Int?
    /// How long to go on looking, in seconds.
    package var timeout: TimeInterval

    package init(
        isEnabled: Bool = true, address: SocketAddress? = nil, port: Int? = nil, timeout: TimeInterval = 30
    ) {
        self.isEnabled = isEnabled
        self.address = address
        self.port = port
        self.timeout = timeout
    }
}

/// An IP address and a port.
package struct SocketAddress: Sendable, Hashable, Codable, CustomStringConvertible {
    package var address: IPAddress
    package var port: Int

    package init(address: IPAddress, port: Int) {
        self.address = address
        self.port = port
    }

    /// `127.0.0.1:8402` or `[::1]:8402`.
    package init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
            (1...65535).contains(port)
        else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            return nil
        }
        guard let address = IPAddress(String(host)) else { return nil }
        self.init(address: address, port: port)
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let value = SocketAddress(try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "not an address with a port")
        }
        self = value
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }

    package var description: String { address.isIPv6 ? "[\(address)]:\(port)" : "\(address):\(port)" }
}

/// Who changes the DNS for us.
package enum DNSProvider: Sendable, Hashable {
    /// Dynamic updates (RFC 2136) sent to the primary server, signed if there is a key (RFC 8945).
    case rfc2136(server: SocketAddress, zone: String?, key: TransactionKey?)
    /// A program, called with an argument vector: `RUN… present|remove NAME VALUE`; no shell.
    case command([String], timeout: TimeInterval)
    /// `POST` of a JSON object to an `https` URL.
    case webhook(url: String, tokenFile: String?, caFile: String?)

    /// A key of TSIG.
    package struct TransactionKey: Sendable, Hashable {
        package var name: String
        package var algorithm: Algorithm
        /// The file with the secret, base64.
        package var secretFile: String

        package enum Algorithm: String, Sendable, Hashable, CaseIterable {
            case hmacSHA256 = "hmac-sha256"
            case hmacSHA512 = "hmac-sha512"
        }

        package init(name: String, algorithm: Algorithm = .hmacSHA256, secretFile: String) {
            self.name = name
            self.algorithm = algorithm
            self.secretFile = secretFile
        }
    }
}

/// How it is found out that every authoritative server has the record.
package struct Propagation: Sendable, Hashable {
    /// The servers to ask; empty: those that the DNS names as authoritative.
    package var servers: [SocketAddress]
    /// The recursive resolver to find them with; `nil`: the first of /etc/resolv.conf.
    package var resolver: SocketAddress?
    /// How long to go on asking, in seconds.
    package var timeout: TimeInterval
    /// Between two rounds of questions, in seconds.
    package var interval: TimeInterval

    package init(
        servers: [SocketAddress] = [], resolver: SocketAddress? = nil, timeout: TimeInterval = 120,
        interval: TimeInterval = 2
    ) {
        self.servers = servers
        self.resolver = resolver
        self.timeout = timeout
        self.interval = interval
    }
}

/// What a CA allows, as token buckets; `nil`: not limited.
package struct IssuanceLimits: Sendable, Hashable {
    package var newOrders: Rate?
    package var newAccounts: Rate?
    /// Certificates for one registered domain (public suffix plus one label); one IPv4 address or IPv6 /64 counts as one.
    package var perDomain: Rate?
    /// Certificates for exactly the same set of names.
    package var perNameSet: Rate?
    /// Failed validations of one name.
    package var failedValidations: Rate?

    /// So many in so many seconds; the bucket is full at the beginning and refills evenly.
    package struct Rate: Sendable, Hashable, Codable {
        package var count: Int
        package var period: TimeInterval

        package init(_ count: Int, per period: TimeInterval) {
            self.count = count
            self.period = period
        }
    }

    package init(
        newOrders: Rate? = nil, newAccounts: Rate? = nil, perDomain: Rate? = nil, perNameSet: Rate? = nil,
        failedValidations: Rate? = nil
    ) {
        self.newOrders = newOrders
        self.newAccounts = newAccounts
        self.perDomain = perDomain
        self.perNameSet = perNameSet
        self.failedValidations = failedValidations
    }

    package static let none = IssuanceLimits()
    /// https://letsencrypt.org/docs/rate-limits/, as of 2026-08-05.
    package static let letsEncrypt = IssuanceLimits(
        newOrders: Rate(300, per: 3 * 3600), newAccounts: Rate(10, per: 3 * 3600), perDomain: Rate(50, per: 7 * 86400),
        perNameSet: Rate(5, per: 7 * 86400), failedValidations: Rate(5, per: 3600))
}
