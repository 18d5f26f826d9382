import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

@testable import CertsHAProxy

/// What is found before a deployment, with the real HAProxy; each finding by its id, and nothing else.
@Suite struct PreflightTests {
    private func declaration(_ name: String = "messenger", names: [String] = [Site.host]) throws
        -> CertificateDeclaration
    {
        CertificateDeclaration(name: try Name(name), names: names.map { .dns($0) }, issuer: try Name("local"))
    }

    private func target(
        _ site: Site, _ reload: ReloadMethod, bundle: String? = nil, fallback: ReloadMethod? = nil,
        list: ListDeclaration? = nil
    ) throws -> any DeploymentTarget {
        TargetFactory.make(
            NodeDeclaration(
                id: NodeID(try Name("edge"), node: try Name("one")), bundle: bundle ?? site.path, reload: reload,
                fallback: fallback, list: list, endpoints: [Endpoint(host: "127.0.0.1", port: 1)]),
            files: site.files, proof: EndpointProof(prober: HandshakeProber(), pause: .milliseconds(20)),
            limits: TargetLimits(reply: .seconds(5), lock: .seconds(5), connect: .milliseconds(500)),
            logger: Site.logger)
    }

    /// Expects these findings, as `severity id`, each with what to do.
    @discardableResult
    private func expect(
        _ expected: [String], _ target: any DeploymentTarget, _ certificates: [CertificateDeclaration]? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> [Finding] {
        let certificates = try certificates ?? [declaration()]
        let findings = await target.inspect(certificates)
        #expect(
            findings.map { "\($0.severity.rawValue) \($0.id)" }.sorted() == expected.sorted(), "\(findings)",
            sourceLocation: sourceLocation)
        #expect(
            findings.allSatisfy { !$0.message.isEmpty && !$0.remedy.isEmpty }, "\(findings)",
            sourceLocation: sourceLocation)
        return findings
    }

    // MARK: The socket

    @Test func `nothing is found where all is well, by any method`() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        try await expect([], target(site, .runtime(socket: haproxy.socket)))
        try await expect([], target(site, .master(socket: haproxy.masterSocket)))
        try await expect([], target(site, .signal(pidFile: haproxy.pidFile, signal: .usr2)))
        try await expect(
            [], target(site, .runtime(socket: haproxy.socket), fallback: .master(socket: haproxy.masterSocket)))
    }

    @Test func `a socket that is not there`() async throws {
        let site = try Site()
        try await expect(["error socket-missing"], target(site, .runtime(socket: site.directory.path("none.sock"))))
        try await expect(["error socket-missing"], target(site, .runtime(socket: "/nonexistent/none.sock")))
    }

    @Test func `a socket without the rights that are needed`() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let found = try await expect(
            ["error socket-not-admin"], target(site, .runtime(socket: haproxy.operatorSocket)))
        #expect(found.first?.remedy.contains("level admin") == true)
    }

    @Test func `a socket of something else`() async throws {
        let site = try Site()
        let fake = try FakeHAProxy(at: site.directory.path("other.sock"), certificates: []) { _, _ in
            .reply("220 mail.example.com ESMTP\r\n\n\n")
        }
        defer { fake.stop() }
        try await expect(["error not-haproxy"], target(site, .runtime(socket: fake.path)))
    }

    @Test func `a socket that answers nothing, and one that somebody else works at`() async throws {
        let site = try Site()
        let fake = try FakeHAProxy(at: site.directory.path("slow.sock"), certificates: []) { _, _ in .hang }
        defer { fake.stop() }
        let slow = try site.target(.runtime(socket: fake.path), port: 1, reply: .milliseconds(300))
        try await expect(["error socket-unusable"], slow)
        let lock = try await site.files.lockDirectory(site.directory.path, deadline: .seconds(5))
        try await expect(["error socket-busy"], slow)
        lock.release()
    }

    @Test func `another client's transaction, which stays as it is`() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        try haproxy.ask("set ssl cert \(site.path) <<", payload: try site.bundle(2).pem.data)
        let found = try await expect(["error foreign-transaction"], target(site, .runtime(socket: haproxy.socket)))
        #expect(found.first?.remedy.contains("abort ssl cert") == true)
        #expect(try haproxy.ask("show ssl cert").contains("*\(site.path)"))
    }

    @Test func `a process that is on its way out`() async throws {
        let site = try Site()
        let held = site.directory.path("held.sock")
        let haproxy = try await RealHAProxy.start(
            in: site.directory, crt: [site.path], isMaster: false, global: HeldConnection.sections(socket: held))
        let connection = try HeldConnection(to: held)
        kill(haproxy.pid, SIGUSR1)
        #expect(
            try await ReloadSite.eventually { (try? haproxy.ask("show info"))?.contains("Stopping: 1") != false })
        let found = try await target(site, .runtime(socket: haproxy.socket)).inspect([try declaration()])
        // HAProxy may close its socket first.
        #expect(["process-stopping", "socket-missing"].contains(found.first?.id), "\(found)")
        withExtendedLifetime(connection) {}
    }

    @Test func `a process that says that it is on its way out`() async throws {
        let site = try Site()
        let fake = try FakeHAProxy(at: site.directory.path("old.sock"), certificates: [site.path]) { _, command in
            command == "show info" ? .reply("Version: 2.6.12\nPid: 4711\nStopping: 1\n\n") : .normal
        }
        defer { fake.stop() }
        try await expect(["error process-stopping"], target(site, .runtime(socket: fake.path)))
    }

    // MARK: The certificate in HAProxy's memory

    @Test func `a file that HAProxy holds in two spellings`() async throws {
        let site = try Site()
        let double = site.path.replacingOccurrences(of: "certs/", with: "certs//")
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path, double])
        try await expect(["error two-spellings"], target(site, .runtime(socket: haproxy.socket)))
    }

    @Test func `a file that HAProxy has not loaded, with what can be done about it`() async throws {
        let growing = try await GrowingSite.crtList()
        let (site, socket) = (growing.site, ReloadMethod.runtime(socket: growing.haproxy.socket))
        let new = site.directory.path("certs/new.pem")
        let declared = try [declaration(names: [GrowingSite.newHost])]
        try await expect(["error not-loaded"], target(site, socket, bundle: new), declared)
        let master = ReloadMethod.master(socket: growing.haproxy.masterSocket)
        try await expect(["info not-loaded"], target(site, socket, bundle: new, fallback: master), declared)
        let list = ListDeclaration(path: growing.list.rawValue)
        try await expect(["info will-be-added"], target(site, socket, bundle: new, list: list), declared)
        let unknown = ListDeclaration(path: site.directory.path("nowhere.list"))
        try await expect(["error not-loaded"], target(site, socket, bundle: new, list: unknown), declared)
        // In a list that is a file the certificate gets a line, too.
        let preview = try await target(site, socket, bundle: new, list: list).preview(
            declared[0], next: growing.new, among: declared)
        #expect(preview.commands.contains("new ssl cert \(new)"))
        #expect(preview.commands.contains("set ssl cert \(new) <<  (\(growing.new.pem.count) bytes)"))
        #expect(preview.commands.contains("add ssl crt-list \(growing.list) \(new)"))
        #expect(preview.commands.last == "add a line for \(new) to \(growing.list) by a rename")
    }

    @Test func `a file whose name HAProxy cannot replace at run time`() async throws {
        let site = try Site(file: "certs/server.crt")
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        try await expect(["error crt-name"], target(site, .runtime(socket: haproxy.socket)))
        try await expect(
            ["info crt-name"],
            target(site, .runtime(socket: haproxy.socket), fallback: .master(socket: haproxy.masterSocket)))
    }

    @Test func `a second certificate with the same name in the same bind`() async throws {
        let site = try Site()
        let other = site.directory.path("certs/z.pem")
        try site.bundle(2, names: ["z.example.com", Site.host]).pem.data.write(to: URL(filePath: other))
        let list = try site.directory.write("\(site.path)\n\(other)\n", to: "site.list")
        let haproxy = try await RealHAProxy.start(in: site.directory, bind: "crt-list \(list)")
        let found = try await expect(["error duplicate-name"], target(site, .runtime(socket: haproxy.socket)))
        #expect(found.first?.message.contains(other) == true)
    }

    /// HAProxy 2.6.12 dies of `show ssl cert` where its answer is a little longer than its buffer.
    @Test func `a certificate with very many names stands in nobody's way, and HAProxy is not asked about it`()
        async throws
    {
        let site = try Site()
        let names = ["z.example.net"] + (100..<300).map { "\(String(repeating: "x", count: 60)).n\($0).example.net" }
        let big = try site.bundle(9, names: names)
        let path = site.directory.path("certs/z.pem")
        try big.pem.data.write(to: URL(filePath: path))
        chmod(path, 0o640)
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.directory.path("certs")])
        let method = ReloadMethod.runtime(socket: haproxy.socket)
        let ours = try target(site, method)
        try await expect(["warning foreign-file"], ours)
        // All the way, with a duplicate check that looks at every certificate of the list.
        let new = try site.bundle(2)
        let prepared = try await site.target(method, port: haproxy.port).prepare(new, fallback: site.first, now: Date())
        try await ours.apply(new, receipt: prepared.receipt, resuming: false)

        let theirs = try target(site, method, bundle: path)
        let failure = await error { _ = try await theirs.prepare(big, fallback: nil, now: Date()) }
        #expect(failure?.code == .targetBundleTooLarge)
        let small = try site.bundle(10, names: ["z.example.net"])
        let old = await error { _ = try await theirs.prepare(small, fallback: nil, now: Date()) }
        #expect(old?.code == .targetBundleTooLarge, "what is live could not be told from what is new")
        #expect(await theirs.look(at: big).members.map(\.memory) == [.hidden])
        #expect(await theirs.look(at: small).members.map(\.memory) == [.hidden])
        let declared = try declaration(names: names)
        let cold = ReloadMethod.master(socket: haproxy.masterSocket)
        try await expect(
            ["info bundle-too-large", "info bundle-too-large", "warning foreign-file"],
            target(site, method, bundle: path, fallback: cold), [declared])
        #expect(haproxy.isRunning)
        #expect(haproxy.workers.count == 1)
        #expect(!haproxy.output.contains("call trace"))
    }

    // MARK: The files

    @Test func `files in the directory that nobody declared`() async throws {
        let site = try Site()
        let directory = site.directory.path("certs")
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [directory])
        for name in ["server.pem.bak", "two.txt", ".hidden", "server.pem.ocsp"] {
            try site.directory.write("not loaded yet", to: "certs/\(name)")
        }
        let method = ReloadMethod.runtime(socket: haproxy.socket)
        let both = ["warning foreign-file", "warning foreign-file"]
        let found = try await expect(both, target(site, method))
        #expect(found.first?.message.contains("server.pem.bak") == true, "the copy comes first")
        #expect(found.last?.message.contains("two.txt") == true)
        let list = ListDeclaration(path: directory)
        try await expect(both, target(site, .signal(pidFile: haproxy.pidFile, signal: .usr2), list: list))
        // Another certificate of the node is no foreign file, also when only one is looked at.
        let named = try target(site, method, bundle: "\(directory)/{name}.pem")
        let (one, two) = (try declaration("server"), try declaration("two", names: ["two.example.com"]))
        #expect(
            await named.preview(one, next: nil, among: [one]).findings.map(\.id) == ["foreign-file", "foreign-file"])
        rename("\(directory)/two.txt", "\(directory)/two.pem")
        #expect(await named.preview(one, next: nil, among: [one, two]).findings.map(\.id) == ["foreign-file"])
    }

    @Test func `a bundle that everybody can read`() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        chmod(site.path, 0o644)
        let expected = ["warning bundle-readable-by-all"]
        try await expect(expected, target(site, .runtime(socket: haproxy.socket)))
        try await expect(expected, target(site, .signal(pidFile: haproxy.pidFile, signal: .usr2)))
    }

    @Test func `a bundle without its key`() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let certificate = try CanonicalBundle.certificates(in: site.first.pem)[0]
        try Data(certificate.pem.utf8).write(to: URL(filePath: site.path))
        chmod(site.path, 0o640)
        try await expect(["warning bundle-incomplete"], target(site, .runtime(socket: haproxy.socket)))
    }

    @Test func `a bundle that the runtime API does not take`() async throws {
        let site = try Site()
        try site.bundle(2, chainCopies: 30).pem.data.write(to: URL(filePath: site.path))
        chmod(site.path, 0o640)
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let (hot, cold) = (
            ReloadMethod.runtime(socket: haproxy.socket), ReloadMethod.master(socket: haproxy.masterSocket)
        )
        try await expect(["warning bundle-too-large"], target(site, hot))
        try await expect(["info bundle-too-large"], target(site, hot, fallback: cold))
        try await expect([], target(site, cold))
        // A bundle that is known counts more than the one that is live.
        let small = try site.bundle(3)
        #expect(try await target(site, hot).preview(declaration(), next: small, among: []).findings == [])
        let preview = try await target(site, hot, fallback: cold).preview(
            declaration(), next: try site.bundle(4, chainCopies: 30), among: [])
        #expect(preview.method == "master")
    }

    @Test func `a bundle that cannot be read, and a directory that is not there`() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let method = ReloadMethod.signal(pidFile: haproxy.pidFile, signal: .usr2)
        let folder = site.directory.path("certs/folder.pem")
        mkdir(folder, 0o700)
        try await expect(["error bundle-unreadable"], target(site, method, bundle: folder))
        let nowhere = site.directory.path("nowhere/server.pem")
        let found = try await expect(["error directory-not-writable"], target(site, method, bundle: nowhere))
        #expect(found.first?.message.contains("No such file or directory") == true)
    }

    @Test func `a directory that cannot be written to, also for root`() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        // `/proc` takes files from nobody.
        let found = try await expect(
            ["error directory-not-writable"],
            target(site, .signal(pidFile: haproxy.pidFile, signal: .usr2), bundle: "/proc/self/server.pem"))
        #expect(found.first?.remedy.contains("rename") == true)
    }

    // MARK: What reloads

    @Test func `a HAProxy without a master, and one that is gone`() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path], isMaster: false)
        let method = ReloadMethod.signal(pidFile: haproxy.pidFile, signal: .usr2)
        try await expect(["error not-master-worker"], target(site, method))
        try await expect(
            ["error not-master-worker"], target(site, .runtime(socket: haproxy.socket), fallback: method))
        try await BlockingPool.network.run { haproxy.crash() }
        try await expect(["error reload-unavailable"], target(site, method))
    }

    @Test func `a master socket that does not permit it, and one of something else`() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path], masterOptions: ",level,user")
        try await expect(["error reload-not-permitted"], target(site, .master(socket: haproxy.masterSocket)))
        try await expect(["error not-master-socket"], target(site, .master(socket: haproxy.socket)))
        try await expect(["error reload-unavailable"], target(site, .master(socket: site.directory.path("no.sock"))))
    }
}
