import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

@testable import CertsIssuers

/// The printed rules in a real HAProxy, with only the addresses changed to free ones.
@Suite struct HAProxyChallengeRulesTests {
    static func declaration(_ methods: ChallengeDeclaration.Method...) -> ACMEDeclaration {
        ACMEDeclaration(
            directory: "https://ca.example.com/directory", challenges: methods.map { ChallengeDeclaration(method: $0) })
    }

    /// An HAProxy with the rules in it: the ports of the outside are `http` and `tls`; the TLS frontend behind is its own.
    struct Balancer {
        let haproxy: RealHAProxy
        let http: SocketAddress
        let tls: SocketAddress
        let identity: TestPKI.Identity

        init(_ scene: ChallengeScene, _ declaration: ACMEDeclaration) async throws {
            let pki = try TestPKI()
            identity = try pki.leaf(["www.example.com"])
            let bundle = try scene.directory.write(
                identity.bundle(chain: [pki.intermediate.certificate]), to: "site.pem")
            http = try ChallengeScene.address(LoopbackPort.reserve())
            tls = try ChallengeScene.address(LoopbackPort.reserve())
            let inner = try LoopbackPort.reserve()
            let rules = HAProxyChallengeRules.text(for: declaration)
                .replacingOccurrences(of: "bind :80\n", with: "bind \(http)\n")
                .replacingOccurrences(of: "bind :443\n", with: "bind \(tls)\n")
                .replacingOccurrences(of: HAProxyChallengeRules.innerAddress, with: "127.0.0.1:\(inner)")
            let site = """
                \(rules)
                frontend site
                    mode http
                    timeout client 5s
                    bind 127.0.0.1:\(inner) accept-proxy ssl crt \(bundle)
                    http-request return status 200 content-type text/plain lf-string "site for %[src]"
                """
            haproxy = try await RealHAProxy.start(in: scene.directory, crt: [bundle], global: site)
        }

        func get(_ path: String) async throws -> String {
            try await ChallengeScene.exchange(
                "GET \(path) HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n", at: http)
        }
    }

    @Test func httpAndTLSGoThroughAndTheSiteIsUnaffected() async throws {
        let scene = try await ChallengeScene()
        let listen = try ChallengeScene.address(LoopbackPort.reserve())
        let alpn = try ChallengeScene.address(LoopbackPort.reserve())
        let declaration = Self.declaration(.http01(.listen(listen)), .tlsALPN01(listen: alpn))
        let balancer = try await Balancer(scene, declaration)
        let http = HTTP01Solver(
            .listen(listen), names: [], selfCheck: SelfCheck(address: balancer.http), files: scene.state,
            logger: ChallengeScene.logger)
        let tls = TLSALPN01Solver(
            listen: alpn, names: [], selfCheck: SelfCheck(address: balancer.tls), files: scene.state,
            logger: ChallengeScene.logger)
        let (first, second) = (ChallengeScene.proof(.http01), ChallengeScene.proof(.tlsALPN01))

        try await http.present(first)
        try await http.check(first)
        try await tls.present(second)
        try await tls.check(second)
        // Everybody else meanwhile: redirected to HTTPS, and served there with the certificate of the site.
        #expect(try await balancer.get("/shop").contains("location: https://www.example.com/shop"))
        for protocols in [[], ["h2", "http/1.1"], ["http/1.1"]] {
            let seen = try await TLSALPN01SolverTests.probe(balancer.tls, "www.example.com", protocols)
            #expect(seen.leaf == balancer.identity.certificate)
        }
        let page = try await BlockingPool.network.run {
            try Tool.run(
                "curl", "-sk", "--resolve", "www.example.com:\(balancer.tls.port):127.0.0.1",
                "https://www.example.com:\(balancer.tls.port)/")
        }
        #expect(page.output == "site for 127.0.0.1")
        try await http.remove(first)
        try await tls.remove(second)
        let answer = try await balancer.get(ChallengeToken.pathPrefix + first.token)
        #expect(answer.hasPrefix("HTTP/1.1 50"), "\(answer)")
        #expect(try await TLSALPN01SolverTests.probe(balancer.tls, nil, []).chain.count == 2)
        #expect(!balancer.haproxy.output.contains("WARNING"), "\(balancer.haproxy.output)")
        balancer.haproxy.stop()
    }

    @Test func theTextIsAValidConfigurationWhateverIsDeclared() async throws {
        let directory = try TemporaryDirectory()
        let http = try #require(SocketAddress("127.0.0.1:8402"))
        let six = try #require(SocketAddress("[::1]:8403"))
        for (index, declaration) in [
            Self.declaration(), Self.declaration(.http01(.listen(http))), Self.declaration(.tlsALPN01(listen: six)),
            Self.declaration(.http01(.directory("/var/www\nglobal"))),
            Self.declaration(.http01(.listen(http)), .http01(.listen(http)), .tlsALPN01(listen: six)),
        ].enumerated() {
            // HAProxy wants to listen somewhere.
            let text =
                HAProxyChallengeRules.text(for: declaration)
                + "\nfrontend other\n    mode http\n    timeout client 5s\n    bind 127.0.0.1:1\n"
            let file = try directory.write(text, to: "\(index).cfg")
            let outcome = try await BlockingPool.network.run { try Tool.run(RealHAProxy.executable, "-c", "-f", file) }
            #expect(outcome.status == 0 && !outcome.output.contains("WARNING"), "\(outcome.output)")
        }
    }
}
