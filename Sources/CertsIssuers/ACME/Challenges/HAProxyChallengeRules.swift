package import CertsCore
import CertsCrypto

/// The rules with which an HAProxy in front lets the challenges through to us, as text for its configuration.
///
/// `http-01`: the path, before any redirect to HTTPS. `tls-alpn-01`: a frontend in TCP mode looks at the protocol of the
/// hello and sends `acme-tls/1` to us, everything else to the TLS frontend that was on port 443 before.
package enum HAProxyChallengeRules {
    /// Where the TLS frontend listens once a frontend in TCP mode is in front of it.
    static let innerAddress = "127.0.0.1:8443"

    /// What to write into `haproxy.cfg` for the challenges of an issuer. Always a valid configuration, if only comments.
    package static func text(for declaration: ACMEDeclaration) -> String {
        let parts = declaration.challenges.map { challenge in
            switch challenge.method {
            case .http01(.listen(let address)): http(address, port: challenge.selfCheck.port ?? 80)
            case .http01(.directory(let path)): directory(path)
            case .tlsALPN01(let address): tls(address, port: challenge.selfCheck.port ?? 443)
            case .dns01, .dnsAccount01, .dnsPersist01:
                "# \(challenge.type.rawValue): nothing to do in HAProxy, the CA looks into the DNS.\n"
            }
        }
        // Two declarations may share one listener, each for other names.
        var distinct: [String] = []
        for part in parts where !distinct.contains(part) { distinct.append(part) }
        if distinct.isEmpty { return "# No challenges are declared.\n" }
        return distinct.joined(separator: "\n")
    }

    private static func http(_ address: SocketAddress, port: Int) -> String {
        """
        # http-01: the CA asks for http://NAME\(ChallengeToken.pathPrefix)TOKEN on port \(port).
        # With a frontend on port \(port) of your own, add the acl and the use_backend to it, and `unless certs_acme_path` to
        # each rule that redirects, denies or asks for a login, as here to the redirect.
        # Names with an IPv6 address are asked for there: `bind :::\(port) v4v6`.
        frontend certs_acme_http_in
            mode http
            bind :\(port)
            timeout client 10s
            acl certs_acme_path path_beg \(ChallengeToken.pathPrefix)
            http-request redirect scheme https code 301 unless certs_acme_path
            use_backend certs_acme_http if certs_acme_path

        # `certs` listens only while a challenge is shown: no health check, and 503 at all other times.
        backend certs_acme_http
            mode http
            timeout connect 2s
            timeout server 10s
            server certs \(address)

        """
    }

    private static func tls(_ address: SocketAddress, port: Int) -> String {
        """
        # tls-alpn-01: the CA shakes hands on port \(port) with the protocol \(ChallengeCertificate.applicationProtocol), and certs answers.
        # This frontend takes over `bind :\(port)`. In your TLS frontend, put in place of that line
        #     bind \(innerAddress) accept-proxy ssl …       (what stood after `ssl` before)
        # `accept-proxy` keeps the addresses of the clients. Names with an IPv6 address: `bind :::\(port) v4v6`.
        frontend certs_acme_tls_in
            mode tcp
            bind :\(port)
            timeout client 1h
            tcp-request inspect-delay 5s
            tcp-request content accept if { req.ssl_hello_type 1 }
            use_backend certs_acme_tls if { req.ssl_alpn \(ChallengeCertificate.applicationProtocol) }
            default_backend certs_acme_tls_others

        backend certs_acme_tls
            mode tcp
            timeout connect 2s
            timeout server 10s
            server certs \(address)

        backend certs_acme_tls_others
            mode tcp
            timeout connect 2s
            timeout server 1h
            server tls \(innerAddress) send-proxy-v2

        """
    }

    private static func directory(_ path: String) -> String {
        """
        # http-01: the answers are files in \(TerminalText.sanitized(path)). HAProxy serves no files: route
        # \(ChallengeToken.pathPrefix) of port 80 to the web server that serves this directory, before any redirect.

        """
    }
}
