import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Synchronization
import Testing

/// `staple: true` with the program, the real HAProxy, and an external CA with an OCSP responder.
@Suite struct StapleTests {
    /// A CA that is run by the `openssl` program and answers requests by hand; its responder can be away.
    final class Corporate: Sendable {
        struct State {
            var isAway = false
            var lifetime = ["-ndays", "7"]
            var status = ResponseSigner.Status.good
            var issued: [Certificate] = []
        }

        private let state = Mutex(State())
        private let responder = Mutex<TestResponder?>(nil)
        let directory: TemporaryDirectory
        let authority: TestPKI.Identity
        /// What goes out behind the leaf.
        let chain: [Certificate]

        /// - Parameter chainless: the root signs the leaves itself.
        init(_ scene: RotationScene, chainless: Bool) throws {
            directory = scene.directory
            authority = chainless ? scene.pki.root : scene.pki.intermediate
            chain = chainless ? [] : [scene.pki.intermediate.certificate]
            try directory.write(scene.pki.root.certificate.pem, to: "roots.pem")
            try directory.write(authority.certificate.pem, to: "signer.pem")
            try directory.write(try authority.keyPEM, to: "signer.key")
            let signer = ResponseSigner(issuer: authority)
            let server = try TestResponder(
                .answers { [self] request in
                    let now = now
                    if now.isAway { throw Program.Failure(description: "away") }
                    return try signer.response(
                        to: request.body, about: now.issued, status: now.status, lifetime: now.lifetime)
                })
            responder.withLock { $0 = server }
        }

        var now: State {
            get { state.withLock { $0 } }
            set { state.withLock { $0 = newValue } }
        }

        func sign(_ request: String, mustStaple: Bool) async throws -> String {
            let url = responder.withLock { $0?.url } ?? ""
            try directory.write(request, to: "request.pem")
            try directory.write(
                """
                basicConstraints=critical,CA:FALSE
                keyUsage=critical,digitalSignature
                extendedKeyUsage=serverAuth
                authorityKeyIdentifier=keyid
                authorityInfoAccess=OCSP;URI:\(url)
                \(mustStaple ? "tlsfeature=status_request" : "")

                """, to: "extensions.cnf")
            try await tool(
                "openssl", "x509", "-req", "-in", directory.path("request.pem"), "-CA", directory.path("signer.pem"),
                "-CAkey", directory.path("signer.key"), "-CAcreateserial", "-days", "90", "-copy_extensions", "copy",
                "-extfile", directory.path("extensions.cnf"), "-out", directory.path("leaf.pem"))
            let pem = try Data(contentsOf: URL(filePath: directory.path("leaf.pem")))
            let leaf = try #require(try CertificateReader.certificates(in: pem).first)
            #expect(leaf.record.ocspURLs == [url] && leaf.record.mustStaple == mustStaple)
            state.withLock { $0.issued.append(leaf) }
            return try directory.write(pem + Data(chain.map(\.pem).joined().utf8), to: "answer.pem")
        }
    }

    private func make(
        reload: String = "{ method: runtime, socket: DIR/admin.sock }", chainless: Bool = false
    ) async throws -> (RotationScene, Corporate) {
        let scene = try await RotationScene.make(
            .init(
                issuers: "corporate: { type: hand-off, anchors: DIR/roots.pem }",
                issuer: "corporate\n    staple: true", reload: reload, isMaster: reload.contains("signal")),
            serves: false)
        let corporate = try await blocking.run { try Corporate(scene, chainless: chainless) }
        try await scene.balancer.start()
        return (scene, corporate)
    }

    /// The way of a request to the CA and back.
    @discardableResult
    private func rotate(
        _ scene: RotationScene, _ corporate: Corporate, mustStaple: Bool = false, exits status: Int32 = 0
    ) async throws -> Program.Outcome {
        let request = try await scene.certs("csr", "messenger", exits: 0).text
        let answer = try await corporate.sign(request, mustStaple: mustStaple)
        return try await scene.certs("import", "messenger", "--certificate", answer, exits: status)
    }

    /// What the `openssl` program is given as the staple; `nil`: nothing.
    private func staple(_ scene: RotationScene) async throws -> String? {
        let client = try await tool(
            "openssl", "s_client", "-status", "-connect", "127.0.0.1:\(scene.balancer.port)", "-servername",
            RotationScene.name)
        let hasNone = client.contains("OCSP response: no response sent")
        #expect(hasNone != client.contains("OCSP Response Status: successful"), "\(client)")
        return hasNone ? nil : client
    }

    private func stapledBytes(_ scene: RotationScene) async throws -> Data? {
        let port = scene.balancer.port
        return try await blocking.run {
            try TLSProbe(host: "127.0.0.1", port: port, serverName: RotationScene.name).run().ocspStaple
        }
    }

    private func onDisk(_ kind: String, _ scene: RotationScene) -> Data? {
        FileManager.default.contents(atPath: "\(scene.bundle).\(kind)")
    }

    private func plan(_ scene: RotationScene) async throws -> PlanDocument.Item {
        let plan = try scene.decoded(PlanDocument.self, try await scene.certs("plan", "-o", "json", exits: 0))
        return try #require(plan.items.first)
    }

    private static let ways = [
        "{ method: runtime, socket: DIR/admin.sock }", "{ method: signal, pidFile: DIR/haproxy.pid }",
    ]

    @Test(arguments: ways, [false, true])
    func `the response is stapled, and fetched anew before it ends`(reload: String, chainless: Bool) async throws {
        let (scene, corporate) = try await make(reload: reload, chainless: chainless)
        corporate.now.lifetime = ["-ndays", "1"]
        try await rotate(scene, corporate)
        #expect(try await staple(scene)?.contains("Cert Status: good") == true)
        let first = try #require(try await stapledBytes(scene))
        #expect(onDisk("ocsp", scene) == first)
        #expect((onDisk("issuer", scene) != nil) == chainless)
        let served = try await scene.served()
        #expect(try await plan(scene).reason == "staple", "it ends before the timer has run twice")

        corporate.now.lifetime = ["-ndays", "7"]
        try await scene.certs("rotate", exits: 0)
        let second = try #require(try await stapledBytes(scene))
        #expect(second != first && onDisk("ocsp", scene) == second)
        #expect(try await scene.served() == served, "the certificate stays")
        let last = try #require(try await scene.history().first)
        #expect(last.purpose == "deploy" && last.outcome == "committed" && last.revision == 1)
        #expect(try await !plan(scene).due)
        try await scene.certs("rotate", exits: 0)
        #expect(try await scene.history().count == 2)
        #expect(try await stapledBytes(scene) == second)
        // From the disk, too.
        try await scene.balancer.restart()
        #expect(try await stapledBytes(scene) == second)
    }

    @Test func `a responder that is away costs the staple, and not the rotation`() async throws {
        let (scene, corporate) = try await make()
        corporate.now.isAway = true
        let run = try await rotate(scene, corporate)
        #expect(run.errors.contains("no OCSP responder could be reached"), "\(run.all)")
        #expect(try await staple(scene) == nil)
        #expect(onDisk("ocsp", scene) == nil)
        let served = try await scene.served()
        #expect(try await scene.status().sha256 == served)
        #expect(try await plan(scene).reason == "staple")

        corporate.now.isAway = false
        try await scene.certs("rotate", exits: 0)
        #expect(try await staple(scene)?.contains("Cert Status: good") == true)
        #expect(try await scene.served() == served)
        // The next leaf gets none again: that of the earlier one is gone from memory and disk.
        corporate.now.isAway = true
        try await rotate(scene, corporate)
        #expect(try await staple(scene) == nil)
        #expect(onDisk("ocsp", scene) == nil)
        // And one that stays is served on until it ends.
        corporate.now.isAway = false
        try await scene.certs("rotate", exits: 0)
        let kept = try await stapledBytes(scene)
        #expect(kept != nil)
        corporate.now.isAway = true
        try await scene.certs("deploy", "messenger", exits: 0)
        #expect(try await stapledBytes(scene) == kept)
    }

    @Test func `a leaf that must be stapled is not deployed without, and not asked for again`() async throws {
        let (scene, corporate) = try await make()
        let before = try await scene.served()
        corporate.now.isAway = true
        let run = try await rotate(scene, corporate, mustStaple: true, exits: 1)
        #expect(run.all.contains("no OCSP responder could be reached"), "\(run.all)")
        #expect(run.errors.contains("nothing live was touched"))
        #expect(try await scene.served() == before)
        #expect(try await scene.history().first?.failure?.code == "staple.unavailable")
        let status = try await scene.status()
        #expect(status.state == "undeployed" && status.revision == nil)

        corporate.now.isAway = false
        try await scene.certs("deploy", "messenger", exits: 0)
        #expect(try await scene.status().revision == 1)
        #expect(try await staple(scene)?.contains("Cert Status: good") == true)
        #expect(corporate.now.issued.count == 1)
        #expect(try await scene.served() == corporate.now.issued[0].record.sha256)
        // A renewal that finds nobody leaves the stapled one alone.
        let stapled = try await stapledBytes(scene)
        corporate.now.isAway = true
        try await rotate(scene, corporate, mustStaple: true, exits: 1)
        #expect(try await scene.served() == corporate.now.issued[0].record.sha256)
        #expect(try await stapledBytes(scene) == stapled)
    }

    @Test func `a response that is about to end is not deployed again`() async throws {
        let (scene, corporate) = try await make()
        try await rotate(scene, corporate)
        let leaf = corporate.now.issued[0]
        let authority = corporate.authority
        let ending = try await blocking.run {
            try ResponseSigner(issuer: authority).response(about: [leaf], lifetime: ["-nmin", "4"])
        }
        let kept = scene.state + "/live/messenger/1/companion.ocsp"
        #expect(FileManager.default.fileExists(atPath: kept))
        try ending.write(to: URL(filePath: kept))
        corporate.now.isAway = true
        try FileManager.default.removeItem(atPath: scene.bundle + ".ocsp")
        try await scene.certs("deploy", "messenger", exits: 0)
        #expect(try await staple(scene) == nil)
        #expect(onDisk("ocsp", scene) == nil)
        #expect(try await scene.served() == leaf.record.sha256)
    }

    @Test func `what its issuer has revoked is not deployed`() async throws {
        let (scene, corporate) = try await make()
        try await rotate(scene, corporate)
        try await rotate(scene, corporate)
        let served = try await scene.served()
        corporate.now.status = .revoked(reason: "keyCompromise")
        let run = try await scene.certs("rollback", "messenger", exits: 1)
        #expect(run.all.contains("was revoked") && run.all.contains("keyCompromise"), "\(run.all)")
        #expect(try await scene.served() == served)
    }
}
