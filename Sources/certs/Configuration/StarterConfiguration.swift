/// The file that `certs init` writes: complete, valid as it is, and explained.
enum StarterConfiguration {
    static let text = """
        # What certs looks after. 'certs check' tells what is wrong with this file, with line and column.
        # Durations are written 90s, 15m, 12h, 30d. Paths are relative to this file.
        version: 1

        # Keys, certificates, the history. Only the user that runs certs may read it.
        state: ./state

        issuers:
          # A CA of your own, made at the first use. Clients must trust state/authorities/local/root.pem.
          local: { type: local-ca, commonName: Example Local CA, validity: 90d }
          # 'certs csr NAME' writes a request for your CA, 'certs import NAME --certificate FILE' takes its answer.
          # corporate: { type: hand-off, anchors: ./corporate-roots.pem }

        certificates:
          - name: www
            subject: { commonName: www.example.com, organization: Example }
            dnsNames: [www.example.com, example.com]
            # rsa-2048, rsa-3072, rsa-4096, ecdsa-p256, ecdsa-p384, ecdsa-p521, ed25519
            key: { algorithm: ecdsa-p256 }
            issuer: local
            # At the latest a third of the lifetime before the end; earlier if you say so.
            renew: { before: 30d }
            targets: [loadbalancer]

        targets:
          - name: loadbalancer
            type: haproxy
            # The file that HAProxy's 'bind … crt' loads; {name} is the name of the certificate.
            bundle: "/etc/haproxy/certs/{name}.pem"
            # The 'stats socket' of HAProxy, at level admin: the certificate is swapped without a reload.
            reload: { method: runtime, socket: /run/haproxy/admin.sock }
            # Where certs looks whether HAProxy really serves the new certificate.
            endpoints:
              - { address: "127.0.0.1:443", serverName: www.example.com }

        # /metrics for Prometheus, /healthz, /readyz.
        server: { listen: "127.0.0.1:9219" }

        """

    /// The one that `certs init --acme` writes.
    static let acme = """
        # What certs looks after. 'certs check' tells what is wrong with this file, with line and column.
        # Durations are written 90s, 15m, 12h, 30d. Paths are relative to this file.
        version: 1

        # Keys, accounts, certificates, the history. Only the user that runs certs may read it.
        state: ./state

        issuers:
          # To try everything out: limits that are hard to reach, and certificates that no browser trusts.
          staging:
            type: acme
            directory: letsencrypt-staging
            # Read the terms first: 'certs acme directory staging' shows where they are. Then write true.
            acceptTerms: false
            # The CA asks http://YOUR-NAME/.well-known/acme-challenge/…; HAProxy passes that on to here:
            # 'certs acme haproxy-rules staging' prints the lines for haproxy.cfg.
            challenge: { type: http-01, listen: "127.0.0.1:8402" }
          # The real one. When 'certs rotate --all' has worked with staging, write 'issuer: letsencrypt' below.
          letsencrypt:
            type: acme
            directory: letsencrypt
            acceptTerms: false
            challenge: { type: http-01, listen: "127.0.0.1:8402" }

        certificates:
          - name: www
            # Names that lead to this HAProxy in the public DNS.
            dnsNames: [www.example.com, example.com]
            key: { algorithm: ecdsa-p256 }
            issuer: staging
            targets: [loadbalancer]

        targets:
          - name: loadbalancer
            type: haproxy
            # The file that HAProxy's 'bind … crt' loads; {name} is the name of the certificate.
            bundle: "/etc/haproxy/certs/{name}.pem"
            # The 'stats socket' of HAProxy, at level admin: the certificate is swapped without a reload.
            reload: { method: runtime, socket: /run/haproxy/admin.sock }
            # Where certs looks whether HAProxy really serves the new certificate.
            endpoints:
              - { address: "127.0.0.1:443", serverName: www.example.com }

        # /metrics for Prometheus, /healthz, /readyz.
        server: { listen: "127.0.0.1:9219" }

        """
}
