import CertsCore
import Yams

// Whether the issuers of a certificate can sign what it asks for.
extension ConfigurationReader {
    /// RFC 8555 names no number; this is what public CAs take, and a longer list is a mistake.
    private static let largestOrder = 100

    /// What the types of the issuers cannot do, in the order in which they are asked.
    func checkIssuers(
        _ issuers: [Located<Name>], _ names: [AlternativeName], _ key: KeyPolicy, _ block: ConfigurationBlock
    ) {
        for (index, located) in issuers.enumerated() {
            guard let declared = self.issuers.first(where: { $0.value.name == located.value })?.value else { continue }
            checkHandOff(declared, key, block)
            checkStaple(declared, block)
            if case .acme(let acme) = declared.kind {
                checkACMENames(declared.name, acme, names, block)
                checkACMEKey(declared.name, acme, key, block)
            }
            // The others never say no, so that one behind them would never be asked.
            if index < issuers.count - 1, !declared.canBeReplaced {
                problems.add(
                    located.mark,
                    "the issuer '\(declared.name)' is of type \(declared.typeName): the ones after it are never asked",
                    "name it last, or alone")
            }
        }
    }

    private func checkHandOff(_ declared: IssuerDeclaration, _ key: KeyPolicy, _ block: ConfigurationBlock) {
        guard key.algorithms.count > 1, case .handOff = declared.kind else { return }
        // A person carries one request, and one answer back.
        problems.add(
            block.mark("keys"), "the issuer '\(declared.name)' is a hand-off, which takes one key at a time",
            "declare one certificate for each key, or another issuer")
    }

    private func checkStaple(_ declared: IssuerDeclaration, _ block: ConfigurationBlock) {
        guard block.node("staple") != nil, block.flag("staple") == true else { return }
        switch declared.kind {
        case .handOff: return
        case .acme(let acme) where KnownDirectory(url: acme.directory)?.isLetsEncrypt != true: return
        default:
            problems.add(
                block.mark("staple"),
                "certificates of the issuer '\(declared.name)' (\(declared.typeName)) name no OCSP responder",
                "leave staple out: there is nothing to staple")
        }
    }

    private func checkACMENames(
        _ issuer: Name, _ acme: ACMEDeclaration, _ names: [AlternativeName], _ block: ConfigurationBlock
    ) {
        for (key, word) in [("emailAddresses", "e-mail addresses"), ("uris", "URIs")] {
            guard case .sequence(let list)? = block.node(key), !list.isEmpty else { continue }
            problems.add(
                block.mark(key), "the issuer '\(issuer)' is an ACME CA, which signs no \(word)",
                "leave \(key) out, or use another issuer")
        }
        if names.count > Self.largestOrder {
            problems.add(
                block.mark("dnsNames"),
                "\(block.what) has \(names.count) names; an ACME CA takes up to \(Self.largestOrder) in one certificate",
                "declare several certificates")
        }
        for name in names where !acme.challenges.contains(where: { $0.isMeant(for: name) }) {
            tellUnproved(name, issuer, block)
        }
    }

    private func tellUnproved(_ name: AlternativeName, _ issuer: Name, _ block: ConfigurationBlock) {
        switch name {
        case .dns(let host) where host.hasPrefix("*."):
            problems.add(
                block.mark("dnsNames"),
                "the wildcard '\(host)' can only be proved in the DNS, and the issuer '\(issuer)' "
                    + "has no challenge for that",
                "add a challenge of type dns-01 to the issuer, or list the names one by one")
        case .dns(let host):
            problems.add(
                block.mark("dnsNames"), "no challenge of the issuer '\(issuer)' is for '\(host)'",
                "add the name, or a name above it, to the 'names' of a challenge")
        case .ip(let address):
            problems.add(
                block.mark("ipAddresses"),
                "the address '\(address)' can only be proved by http-01 or tls-alpn-01, and the "
                    + "issuer '\(issuer)' has no such challenge for it",
                "add one, or the address to its 'names', or leave the address out")
        case .email, .uri: break
        }
    }

    /// CAs that browsers trust sign RSA and NIST curves only (CA/Browser Forum BR 6.1.1.3).
    private func checkACMEKey(
        _ issuer: Name, _ acme: ACMEDeclaration, _ key: KeyPolicy, _ block: ConfigurationBlock
    ) {
        guard key.algorithms.contains(.ed25519), let known = KnownDirectory(url: acme.directory) else { return }
        problems.add(
            block.mark(block.node("keys") == nil ? "key" : "keys"),
            "the issuer '\(issuer)' (\(known.rawValue)) signs no ed25519 keys", "use ecdsa-p256 or rsa-2048")
    }
}

extension IssuerDeclaration {
    /// Whether it can fail in a way that another issuer makes good.
    fileprivate var canBeReplaced: Bool {
        if case .acme = kind { true } else { false }
    }
}
