import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Synchronization
import Testing

@testable import CertsHAProxy

// The hazards that show in a deployment: first what HAProxy 2.6 does with the bare commands, then the same with us.
extension HazardTests {
    private func runtime(_ site: Site, _ haproxy: RealHAProxy) throws -> any DeploymentTarget {
        try site.target(.runtime(socket: haproxy.socket), port: haproxy.port)
    }

    /// Prepares, applies and verifies one new bundle.
    private func deploy(_ site: Site, _ haproxy: RealHAProxy, _ new: StagedBundle) async throws {
        let target = try runtime(site, haproxy)
        let receipt = try await target.prepare(new, fallback: nil, now: Date()).receipt
        try await target.apply(new, receipt: receipt, resuming: false)
        _ = try await target.verify(new, receipt: receipt)
    }

    @Test("1: a payload lands in whatever transaction is open, and is committed for other names")
    func mixesTransactions() async throws {
        let site = try Site()
        let bank = try site.bundle(5, names: ["bank.test"])
        let other = try site.directory.write(bank.pem.data, to: "certs/bank.pem")
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path, other])
        let ours = try site.bundle(2)
        try haproxy.ask("set ssl cert \(other) <<", payload: try site.bundle(6, names: ["bank.test"]).pem.data)

        let target = try runtime(site, haproxy)
        #expect(
            await code { _ = try await target.prepare(ours, fallback: nil, now: Date()) } == .targetForeignTransaction)
        #expect(try await Site.served(haproxy.port, serverName: "bank.test") == bank.fingerprint)

        // Without the guard: the payload for our file is taken, and their commit serves it for their name.
        let reply = try haproxy.ask("set ssl cert \(site.path) <<", payload: ours.pem.data)
        #expect(reply.contains("Transaction updated for certificate \(other)!"))
        #expect(try haproxy.ask("commit ssl cert \(other)").contains("Success!"))
        // With what was committed the name is gone: clients of the bank get our certificate.
        #expect(try await Site.served(haproxy.port, serverName: "bank.test") != bank.fingerprint)
    }

    @Test("4: a CA file and a certificate committed on one bind end the process; we never send a CA file")
    func neverTouchesCAFiles() async throws {
        let site = try Site()
        let authority = try site.directory.write(site.pki.root.certificate.pem, to: "ca.pem")
        let haproxy = try await RealHAProxy.start(
            in: site.directory, crt: [site.path], bind: "ca-file \(authority) verify optional")
        let new = try site.bundle(2)
        try await deploy(site, haproxy, new)
        #expect(try await Site.served(haproxy.port) == new.fingerprint)

        let sources = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Sources/CertsHAProxy")
        let files = try #require(FileManager.default.enumerator(at: sources, includingPropertiesForKeys: nil))
        for case let file as URL in files where file.pathExtension == "swift" {
            #expect(try !String(contentsOf: file, encoding: .utf8).contains("ssl ca-file"), "\(file.path)")
        }

        // Without the guard: HAProxy 2.6 does not survive the second CA file (fixed upstream in 3.3).
        let later = try site.bundle(3)
        let root = Data(site.pki.root.certificate.pem.utf8)
        for _ in 0..<2 {
            _ = try? haproxy.ask("set ssl ca-file \(authority) <<", payload: root)
            _ = try? haproxy.ask("commit ssl ca-file \(authority)")
            _ = try? haproxy.ask("set ssl cert \(site.path) <<", payload: later.pem.data)
            _ = try? haproxy.ask("commit ssl cert \(site.path)")
        }
        for _ in 0..<100 where haproxy.isRunning { try await Task.sleep(for: .milliseconds(20)) }
        #expect(!haproxy.isRunning, "this HAProxy is a later one: the fact is out of date, the guard does no harm")
    }

    @Test("5: a copy in the directory is served after a Success!; we refuse to begin")
    func copiesTakeOver() async throws {
        let site = try Site()
        let copy = try site.bundle(7)
        try site.directory.write(copy.pem.data, to: "certs/server.pem.bak")
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.directory.path("certs")])
        let new = try site.bundle(2)
        #expect(await code { try await deploy(site, haproxy, new) } == .targetDuplicateName)
        #expect(try await Site.served(haproxy.port) == site.first.fingerprint)

        try haproxy.ask("set ssl cert \(site.path) <<", payload: new.pem.data)
        #expect(try haproxy.ask("commit ssl cert \(site.path)").contains("Success!"))
        #expect(try await Site.served(haproxy.port) == copy.fingerprint, "what was committed is not what is served")
    }

    @Test("6: a commit is forgotten at the next reload; ours is on the disk as well")
    func forgetsCommits() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let reloader = MasterReloader(socket: haproxy.masterSocket)
        try haproxy.ask("set ssl cert \(site.path) <<", payload: try site.bundle(3).pem.data)
        #expect(try haproxy.ask("commit ssl cert \(site.path)").contains("Success!"))
        #expect(try await Site.served(haproxy.port) != site.first.fingerprint)
        _ = try await reloader.reload(within: .seconds(10))
        #expect(try await Site.served(haproxy.port) == site.first.fingerprint, "the old one is back without a word")

        let new = try site.bundle(2)
        try await deploy(site, haproxy, new)
        _ = try await reloader.reload(within: .seconds(10))
        #expect(try await Site.served(haproxy.port) == new.fingerprint)
    }

    @Test("7: a reload answers the same whether it worked or not; we tell")
    func reloadsInSilence() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.directory.path("certs")])
        let good = try await reloadInSilence(haproxy)
        let reloader = MasterReloader(socket: haproxy.masterSocket)
        #expect(try await reloader.reload(within: .seconds(10)).evidence != .askedFor)

        try site.directory.write(Data("no certificate\n".utf8), to: "certs/x.pem")
        let failure = await error { _ = try await reloader.reload(within: .seconds(10)) }
        #expect(failure?.code == .targetReloadFailed)
        #expect(try await reloadInSilence(haproxy) == good, "HAProxy 2.6 says nothing, in both cases")
        #expect(try await Site.served(haproxy.port) == site.first.fingerprint)
    }

    /// The bare command; the master cannot be asked while it executes itself again.
    private func reloadInSilence(_ haproxy: RealHAProxy) async throws -> String {
        let connection = RuntimeConnection(socket: haproxy.masterSocket, peer: .master)
        for _ in 0..<200 {
            if let reply = try? await connection.send(.reload) { return reply }
            try await Task.sleep(for: .milliseconds(20))
        }
        return try await connection.send(.reload)
    }

    @Test("9: hot swaps lose no connection, and keep the process")
    func losesNothing() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let workers = haproxy.workers
        let isDone = Flag()
        async let failures = withTaskGroup(of: Int.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    var failed = 0
                    while !isDone.isSet { if (try? await Site.served(haproxy.port)) == nil { failed += 1 } }
                    return failed
                }
            }
            return await group.reduce(0, +)
        }
        for revision in 2...40 {
            let new = try site.bundle(revision)
            let target = try runtime(site, haproxy)
            let receipt = try await target.prepare(new, fallback: nil, now: Date()).receipt
            try await target.apply(new, receipt: receipt, resuming: false)
        }
        isDone.set()
        #expect(await failures == 0)
        #expect(haproxy.workers == workers)
    }

    @Test("10: a resumed session shows the old certificate; our handshakes never resume")
    func resumesWithTheOldCertificate() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let session = site.directory.path("session.pem")
        func client(_ more: String) throws -> (fingerprint: Fingerprint?, isReused: Bool) {
            let seen = try Tool.run(
                "sh", "-c",
                "(sleep 0.3; echo Q) | openssl s_client -tls1_2 -connect 127.0.0.1:\(haproxy.port) "
                    + "-servername \(Site.host) \(more) 2>/dev/null > \(session).out; "
                    + "openssl x509 -in \(session).out -noout -fingerprint -sha256 | sed 's/.*=//'; "
                    + "grep -c '^Reused' \(session).out || true")
            let lines = seen.output.split(separator: "\n")
            return (lines.first.flatMap { Fingerprint(hex: String($0)) }, lines.last == "1")
        }
        #expect(try client("-sess_out \(session)").fingerprint == site.first.fingerprint)
        let new = try site.bundle(2)
        try await deploy(site, haproxy, new)
        let resumed = try client("-sess_in \(session)")
        #expect(resumed.isReused)
        #expect(resumed.fingerprint == site.first.fingerprint, "a monitor that resumes would see the old one")
        for version in ClientProfile.Version.allCases {
            let served = try await HandshakeProber().probe(
                Endpoint(host: "127.0.0.1", port: haproxy.port, serverName: Site.host),
                as: ClientProfile(version: version), deadline: .seconds(5))
            #expect(served.fingerprint == new.fingerprint)
        }
    }
}

/// Set once, seen by all.
private final class Flag: Sendable {
    private let value = Mutex(false)
    var isSet: Bool { value.withLock { $0 } }
    func set() { value.withLock { $0 = true } }
}
