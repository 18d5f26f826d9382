import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

/// The whole way, as a person goes it: plan, rotate, look; back again; the other reload methods; an external CA.
@Suite struct FirstRotationTests {
    @Test func `what status says is what openssl sees served, from the first rotation on`() async throws {
        let scene = try await RotationScene.make(serves: false)
        // The first certificate of the written procedure, made by hand.
        try await tool(
            "openssl", "req", "-x509", "-nodes", "-days", "365", "-newkey", "rsa:2048", "-subj",
            "/CN=\(RotationScene.name)/O=SilentRelay/C=US", "-keyout", scene.directory.path("k"), "-out",
            scene.directory.path("c"))
        try await tool(
            "/bin/sh", "-c", "cat \(scene.directory.path("c")) \(scene.directory.path("k")) > \(scene.bundle)")
        try await scene.balancer.start()
        let before = try await scene.servedByOpenSSL()

        let plan = try scene.decoded(PlanDocument.self, try await scene.certs("plan", "-o", "json", exits: 0))
        #expect(plan.items.map(\.certificate) == ["messenger"])
        #expect(plan.items.first?.due == true)
        #expect(plan.items.first?.reason == "not-issued")

        let run = try await scene.certs("rotate", exits: 0)
        #expect(run.errors.contains("done: seen served"))
        let status = try await scene.status()
        let after = try await scene.servedByOpenSSL()
        #expect(after == status.sha256)
        #expect(after != before)
        #expect(try await scene.served() == after)
        #expect(try scene.onDisk().record.sha256 == after)
        #expect(status.state == "valid")
        #expect(status.targets.first?.endpoints.first?.servedSha256 == after)
        #expect(status.targets.first?.endpoints.first?.matches == true)
        #expect(try scene.mode(scene.bundle) == 0o640)
        #expect(try scene.mode(scene.state + "/live/messenger/1/key.pem") == 0o600)
        #expect(try scene.mode(scene.state) == 0o700)

        let history = try await scene.history()
        #expect(history.map(\.outcome) == ["committed"])
        #expect(
            history.first?.steps.map(\.step)
                == ["key", "request", "issue", "check", "stage", "prepare", "apply", "verify", "commit", "finished"])
        let again = try await scene.certs("rotate", "-o", "json", exits: 0)
        #expect(try scene.decoded(ResultsDocument.self, again).results.first?.outcome == "not-due")
        #expect(try await scene.servedByOpenSSL() == after)
    }

    @Test func `a name that is added to a certificate is served by it, where the default certificate was before`()
        async throws
    {
        let (scene, added) = (try await RotationScene.make(), "chat.example.com")
        try await scene.certs("rotate", exits: 0)
        #expect(try await scene.served(added) == scene.standard.certificate.record.sha256)
        try scene.writeConfiguration {
            $0.replacingOccurrences(
                of: "dnsNames: [\(RotationScene.name)]", with: "dnsNames: [\(RotationScene.name), \(added)]")
        }
        try await scene.certs("rotate", exits: 0)
        #expect(try await scene.expectOneTruth().revision == 2)
        #expect(try await scene.served(added) == (try await scene.served()))
        #expect(try await scene.served("other.example.com") == scene.standard.certificate.record.sha256)
    }

    @Test func `a restart of HAProxy serves the same, and its own check passes`() async throws {
        let scene = try await RotationScene.make()
        try await scene.certs("rotate", exits: 0)
        try await scene.certs("rotate", "messenger", exits: 0)
        let served = try await scene.served()
        try await tool(Balancer.executable, "-c", "-q", "-f", scene.balancer.configuration)
        try await scene.balancer.restart()
        #expect(try await scene.served() == served)
        #expect(try await scene.status().sha256 == served)
        #expect(try await scene.status().revision == 2)
    }

    @Test func `openssl accepts what the local CA issued, for this name only`() async throws {
        let scene = try await RotationScene.make()
        try await scene.certs("rotate", exits: 0)
        let authority = scene.state + "/authorities/local"
        let leaf = scene.state + "/live/messenger/current/cert.pem"
        let arguments = [
            "openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "\(authority)/root.pem",
            "-untrusted",
            "\(authority)/issuing.pem", "-verify_hostname",
        ]
        let right = try await Program(arguments: arguments + [RotationScene.name, leaf]).run()
        #expect(right.status == 0, "\(right.all)")
        #expect(try await Program(arguments: arguments + ["other.example.com", leaf]).run().status != 0)
        let ours = [
            "verify", "--roots", "\(authority)/root.pem", "--untrusted", "\(authority)/issuing.pem", "--hostname",
        ]
        #expect(try await scene.program(ours + [RotationScene.name, leaf]).run().status == 0)
        #expect(try await scene.program(ours + ["other.example.com", leaf]).run().status == 1)
    }

    @Test func `rolls back by hand and forward again, each time seen served`() async throws {
        let scene = try await RotationScene.make()
        try await scene.certs("rotate", exits: 0)
        let one = try await scene.served()
        try await scene.certs("rotate", "messenger", exits: 0)
        let two = try await scene.served()
        #expect(one != two)
        try await scene.certs("rollback", "messenger", exits: 0)
        #expect(try await scene.served() == one)
        #expect(try await scene.status().sha256 == one)
        #expect(try await scene.history().first?.purpose == "rollback")
        #expect(
            try await scene.certs("rollback", "messenger", exits: 4).text.contains(
                "no revision of 'messenger' before 1"))
        #expect(try await scene.served() == one)
        try await scene.certs("rollback", "messenger", "--to", "2", exits: 0)
        #expect(try await scene.served() == two)
        #expect(try scene.onDisk().record.sha256 == two)
    }

    @Test func `deploy brings back what somebody replaced by hand`() async throws {
        let scene = try await RotationScene.make()
        try await scene.certs("rotate", exits: 0)
        let ours = try await scene.served()
        try scene.directory.write(try scene.first.bundle(chain: []), to: "certs/server.pem")
        try await scene.balancer.restart()
        #expect(try await scene.served() != ours)
        #expect(
            try await scene.certs("probe", "messenger", "-o", "json", exits: 1).text.contains("\"matches\" : false"))
        try await scene.certs("deploy", "messenger", exits: 0)
        #expect(try await scene.served() == ours)
        #expect(try await scene.status().revision == 1)
    }

    @Test(arguments: [
        "{ method: signal, pidFile: DIR/haproxy.pid, signal: USR2 }",
        "{ method: signal, pidFile: DIR/haproxy.pid, signal: HUP }",
        "{ method: command, arguments: [/bin/sh, DIR/reload.sh] }",
    ])
    func `rotates by a reload`(_ reload: String) async throws {
        let scene = try await RotationScene.make(.init(reload: reload, isMaster: true))
        try scene.directory.write("kill -USR2 $(cat \(scene.balancer.pidFile))\n", to: "reload.sh")
        for revision in 1...2 {
            try await scene.certs("rotate", "messenger", exits: 0)
            let status = try await scene.status()
            #expect(status.revision == revision)
            #expect(try await scene.served() == status.sha256)
            #expect(try scene.onDisk().record.sha256 == status.sha256)
        }
    }

    @Test func `a bundle that was not there before is only for its owner`() async throws {
        let scene = try await RotationScene.make(
            .init(reload: "{ method: signal, pidFile: DIR/haproxy.pid }", isMaster: true), serves: false)
        try FileManager.default.removeItem(atPath: scene.bundle)
        try scene.balancer.write(crt: [scene.directory.path("certs")])
        try await scene.balancer.start()
        try await scene.certs("rotate", exits: 0)
        #expect(try scene.mode(scene.bundle) == 0o600)
        #expect(try await scene.served() == (try await scene.status().sha256))
        #expect(try await scene.served("default.example.net") == scene.standard.certificate.record.sha256)
    }

    @Test func `what is revoked is on the list that openssl reads`() async throws {
        let scene = try await RotationScene.make()
        try await scene.certs("rotate", exits: 0)
        try await scene.certs("rotate", "messenger", exits: 0)
        try await scene.certs("revoke", "messenger", "--reason", "keyCompromise", exits: 0)
        let authority = scene.state + "/authorities/local"
        func verify(_ revision: Int) async throws -> Program.Outcome {
            try await Program(arguments: [
                "openssl", "verify", "-crl_check", "-CAfile", "\(authority)/root.pem", "-untrusted",
                "\(authority)/issuing.pem",
                "-CRLfile", "\(authority)/crl.pem", "\(scene.state)/live/messenger/\(revision)/cert.pem",
            ]).run()
        }
        let revoked = try await verify(1)
        #expect(revoked.status != 0)
        #expect(revoked.errors.contains("certificate revoked"))
        let good = try await verify(2)
        #expect(good.status == 0, "\(good.all)")
    }
}

/// The way through an external CA, with a new process for every step.
@Suite struct HandOffTests {
    @Test func `waits across restarts, and takes the answer of an openssl CA`() async throws {
        let scene = try await RotationScene.make(
            .init(issuers: "corporate: { type: hand-off, anchors: DIR/ca.pem }", issuer: "corporate"), serves: false)
        let authority = try await OpenSSLAuthority(in: scene.directory)
        try await scene.balancer.start()
        let before = try await scene.served()

        let first = try await scene.certs("rotate", "-o", "json", exits: 0)
        #expect(try scene.decoded(ResultsDocument.self, first).results.first?.outcome == "waiting")
        #expect(try await scene.status().state == "waiting")
        let request = try await scene.certs("csr", "messenger", exits: 0).text
        try await scene.certs("rotate", exits: 0)
        #expect(try await scene.certs("csr", "messenger", exits: 0).text == request)
        #expect(try await scene.served() == before)

        let answer = try await authority.sign(request)
        try await scene.certs("import", "messenger", "--certificate", answer, exits: 0)
        let status = try await scene.status()
        #expect(status.revision == 1)
        #expect(status.state == "valid")
        #expect(try await scene.servedByOpenSSL() == status.sha256)
        #expect(try await scene.history().map(\.outcome) == ["committed"])
        let nothing = try await scene.certs("import", "messenger", "--certificate", answer, exits: 1)
        #expect(nothing.errors.contains("does not wait"))
    }

    @Test func `an answer that is brought while HAProxy is down is deployed later, and not asked for again`()
        async throws
    {
        let scene = try await RotationScene.make(
            .init(issuers: "corporate: { type: hand-off, anchors: DIR/ca.pem }", issuer: "corporate"), serves: false)
        let authority = try await OpenSSLAuthority(in: scene.directory)
        let answer = try await authority.sign(try await scene.certs("csr", "messenger", exits: 0).text)
        try await scene.certs("import", "messenger", "--certificate", answer, exits: 1)
        #expect(try await scene.status().state == "undeployed")
        try await scene.balancer.start()
        try await scene.certs("deploy", "messenger", exits: 0)
        let status = try await scene.status()
        #expect(try await scene.served() == status.sha256)
        #expect(status.revision == 1)
    }
}

/// A CA of one key, run by the `openssl` program.
struct OpenSSLAuthority {
    let directory: TemporaryDirectory

    init(in directory: TemporaryDirectory) async throws {
        self.directory = directory
        try await tool(
            "openssl", "req", "-x509", "-nodes", "-days", "3650", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:P-256", "-subj",
            "/CN=Corporate Root", "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout",
            directory.path("ca.key"), "-out",
            directory.path("ca.pem"))
    }

    /// The path of the certificate for a request.
    func sign(_ request: String) async throws -> String {
        try directory.write(request, to: "request.pem")
        let extensions = """
            basicConstraints=critical,CA:FALSE
            keyUsage=critical,digitalSignature
            extendedKeyUsage=serverAuth
            authorityKeyIdentifier=keyid
            """
        try directory.write(extensions, to: "extensions.cnf")
        try await tool("openssl", "req", "-verify", "-noout", "-in", directory.path("request.pem"))
        try await tool(
            "openssl", "x509", "-req", "-in", directory.path("request.pem"), "-CA", directory.path("ca.pem"), "-CAkey",
            directory.path("ca.key"), "-CAcreateserial", "-days", "90", "-copy_extensions", "copy", "-extfile",
            directory.path("extensions.cnf"), "-out", directory.path("answer.pem"))
        return directory.path("answer.pem")
    }
}
