import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Synchronization
import Testing

@testable import CertsHAProxy

/// The hot swap against the real HAProxy, with each hazard that it has.
@Suite(.serialized) struct RuntimeTargetTests {
    private func transaction(_ haproxy: RealHAProxy) throws -> String? {
        try RuntimeReply.certificateList(try haproxy.ask("show ssl cert")).openTransaction
    }

    @Test func keepsTheProcessWhileItSwaps() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path], isMaster: false)
        let target = try site.target(.runtime(socket: haproxy.socket), port: haproxy.port)
        let before = try RuntimeReply.process(try haproxy.ask("show info"))
        for revision in 2...6 {
            let new = try site.bundle(revision)
            let receipt = try await target.prepare(new, fallback: nil, now: Date()).receipt
            try await target.apply(new, receipt: receipt, resuming: false)
            _ = try await target.verify(new, receipt: receipt)
            #expect(try await Site.served(haproxy.port) == new.fingerprint)
        }
        #expect(try RuntimeReply.process(try haproxy.ask("show info")).pid == before.pid)
    }

    @Test func refusesAForeignTransactionAndLeavesItAlone() async throws {
        let site = try Site()
        let other = try site.directory.write(try site.bundle(9, names: ["other.test"]).pem.data, to: "certs/other.pem")
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path, other])
        let target = try site.target(.runtime(socket: haproxy.socket), port: haproxy.port)
        let new = try site.bundle(2)
        let receipt = try await target.prepare(new, fallback: nil, now: Date()).receipt
        let foreign = try site.bundle(10, names: ["other.test"])
        try haproxy.ask("set ssl cert \(other) <<", payload: foreign.pem.data)

        #expect(
            await code { _ = try await target.prepare(new, fallback: nil, now: Date()) } == .targetForeignTransaction)
        for resuming in [false, true] {
            let failure = await error { try await target.apply(new, receipt: receipt, resuming: resuming) }
            #expect(failure?.code == .targetForeignTransaction)
            #expect(failure?.hint?.contains("abort ssl cert \(other)") == true)
        }
        #expect(try transaction(haproxy) == other)
        #expect(try haproxy.ask("commit ssl cert \(other)").contains("Success!"))
        #expect(try await Site.served(haproxy.port, serverName: "other.test") == foreign.fingerprint)
        #expect(try await Site.served(haproxy.port) == site.first.fingerprint)
        #expect(site.onDisk == site.first.pem.data)
    }

    @Test func refusesAForeignTransactionOnItsOwnFileToo() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let target = try site.target(.runtime(socket: haproxy.socket), port: haproxy.port)
        let new = try site.bundle(2)
        let receipt = try await target.prepare(new, fallback: nil, now: Date()).receipt
        try haproxy.ask("set ssl cert \(site.path) <<", payload: try site.bundle(3).pem.data)
        #expect(
            await code { try await target.apply(new, receipt: receipt, resuming: false) } == .targetForeignTransaction)
        #expect(try transaction(haproxy) == site.path)
    }

    @Test func abortsWhatHAProxyRefusesToCommit() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let target = try site.target(.runtime(socket: haproxy.socket), port: haproxy.port)
        let (new, other) = (try site.bundle(2), try site.bundle(3))
        let receipt = try await target.prepare(new, fallback: nil, now: Date()).receipt
        // The certificates of one revision with the key of another: HAProxy takes it, and notices at the commit.
        let chain = try CanonicalBundle.certificates(in: new.pem).map(\.pem).joined()
        let otherText = String(decoding: other.pem.data, as: UTF8.self)
        let key = try #require(otherText.range(of: "-----BEGIN PRIVATE KEY-----"))
        let mixed = StagedBundle(
            certificate: new.certificate, revision: 2,
            pem: Secret(copying: (chain + otherText[key.lowerBound...]).utf8), leaf: new.leaf,
            fingerprint: new.fingerprint, names: new.names)
        let failure = await error { try await target.apply(mixed, receipt: receipt, resuming: false) }
        #expect(failure?.code == .targetRefused)
        #expect(failure?.message.contains("inconsistencies between private key and certificate") == true)
        #expect(try transaction(haproxy) == nil)
        #expect(site.onDisk == site.first.pem.data)
        #expect(try await Site.served(haproxy.port) == site.first.fingerprint)
    }

    @Test func refusesABundleThatIsTooLargeBeforeItSendsAnything() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let target = try site.target(.runtime(socket: haproxy.socket), port: haproxy.port)
        let large = try site.bundle(2, chainCopies: 40)
        #expect(large.pem.count > 16_384)
        let failure = await error { _ = try await target.prepare(large, fallback: nil, now: Date()) }
        #expect(failure?.code == .targetBundleTooLarge)
        #expect(failure?.hint?.contains("fallback") == true)
        let receipt = try await target.prepare(try site.bundle(3), fallback: nil, now: Date()).receipt
        #expect(
            await code { try await target.apply(large, receipt: receipt, resuming: false) } == .targetBundleTooLarge)
        #expect(try transaction(haproxy) == nil)
        #expect(haproxy.isRunning)
    }

    @Test func swapsABundleJustBelowTheLimit() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let target = try site.target(.runtime(socket: haproxy.socket), port: haproxy.port)
        let name = try StoreName(site.path)
        let copies = try #require(
            (1...40).last { copies in (try? RuntimeCommand.set(name, site.bundle(2, chainCopies: copies).pem)) != nil })
        let large = try site.bundle(2, chainCopies: copies)
        #expect(large.pem.count > 14_000)
        let receipt = try await target.prepare(large, fallback: nil, now: Date()).receipt
        try await target.apply(large, receipt: receipt, resuming: false)
        #expect(try await Site.served(haproxy.port) == large.fingerprint)
    }

    /// With two files for one name in one `bind`, HAProxy 2.6 serves the other file after the commit.
    @Test func rollsBackWhenASecondFileOfTheSameNameWins() async throws {
        let site = try Site()
        let copy = try site.bundle(7)
        // Two files after `crt` are in no list: HAProxy does not tell that they share a bind.
        let other = try site.directory.write(copy.pem.data, to: "certs/server.pem.bak")
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path, other])
        let target = try site.target(.runtime(socket: haproxy.socket), port: haproxy.port)
        let new = try site.bundle(2)
        let prepared = try await target.prepare(new, fallback: nil, now: Date())
        let baseline = site.first.fingerprint
        #expect(prepared.receipt.ownBaseline == [baseline])
        try await target.apply(new, receipt: prepared.receipt, resuming: false)
        let failure = await error { _ = try await target.verify(new, receipt: prepared.receipt) }
        #expect(failure?.code == .servedOther)
        #expect(failure?.message.contains(copy.fingerprint.short) == true)
        #expect(failure?.hint?.contains("another file") == true)
        try await target.restore(
            prepared.receipt, previous: prepared.previousBundle, certificate: new.certificate, resuming: false)
        #expect(site.onDisk == site.first.pem.data)
        #expect(try await target.verifyRestored(prepared.receipt).map(\.served) == [baseline])
        #expect(try await Site.served(haproxy.port) == baseline)
        #expect(try Data(contentsOf: URL(filePath: site.directory.path("certs/server.pem.bak"))) == copy.pem.data)
        #expect(try transaction(haproxy) == nil)
    }

    @Test func refusesASecondFileOfTheSameNameInADirectory() async throws {
        let site = try Site()
        let copy = try site.directory.write(try site.bundle(7).pem.data, to: "certs/server.pem.bak")
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.directory.path("certs")])
        let target = try site.target(.runtime(socket: haproxy.socket), port: haproxy.port)
        let failure = await error { _ = try await target.prepare(try site.bundle(2), fallback: nil, now: Date()) }
        #expect(failure?.code == .targetDuplicateName)
        #expect(failure?.message.contains(copy) == true)
        #expect(failure?.hint?.contains("drift --repair") == true)
        #expect(try await Site.served(haproxy.port) == site.first.fingerprint)
    }

    @Test func refusesAFileThatIsCalledCrt() async throws {
        let site = try Site(file: "certs/server.crt")
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let target = try site.target(.runtime(socket: haproxy.socket), port: haproxy.port)
        let new = try site.bundle(2)
        let failure = await error { _ = try await target.prepare(new, fallback: nil, now: Date()) }
        #expect(failure?.code == .targetNotReferenced)
        #expect(failure?.hint?.contains(".pem") == true)
    }

    @Test func findsTheFileBehindADoubledSlash() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(
            in: site.directory, crt: ["server.pem"], global: "crt-base \(site.directory.path("certs"))/")
        #expect(try haproxy.ask("show ssl cert").contains("certs//server.pem"))
        let target = try site.target(.runtime(socket: haproxy.socket), port: haproxy.port)
        let new = try site.bundle(2)
        let receipt = try await target.prepare(new, fallback: nil, now: Date()).receipt
        try await target.apply(new, receipt: receipt, resuming: false)
        _ = try await target.verify(new, receipt: receipt)
        #expect(site.onDisk == new.pem.data)
    }

    @Test func refusesAFileThatHAProxyHoldsUnderTwoNames() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(
            in: site.directory, crt: [site.path, site.directory.path("certs//server.pem")])
        let target = try site.target(.runtime(socket: haproxy.socket), port: haproxy.port)
        let new = try site.bundle(2)
        #expect(await code { _ = try await target.prepare(new, fallback: nil, now: Date()) } == .targetAmbiguous)
    }

    @Test func refusesASocketWithoutAdminLevelBeforeItSendsAnything() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let target = try site.target(.runtime(socket: haproxy.operatorSocket), port: haproxy.port)
        let new = try site.bundle(2)
        let failure = await error { _ = try await target.prepare(new, fallback: nil, now: Date()) }
        #expect(failure?.code == .targetRefused)
        #expect(failure?.hint?.contains("level admin") == true)
    }

    @Test func restoresTheDiskWhenHAProxyDiesBetweenSetAndCommit() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let relay = try FakeHAProxy(at: site.directory.path("relay.sock"), certificates: []) {
            [socket = haproxy.socket] _, command in
            if command.hasPrefix("commit") { haproxy.crash() }
            return .forward(to: socket)
        }
        defer { relay.stop() }
        let target = try site.target(.runtime(socket: relay.path), port: haproxy.port, reply: .seconds(2))
        let new = try site.bundle(2)
        let prepared = try await target.prepare(new, fallback: nil, now: Date())
        let failure = await error { try await target.apply(new, receipt: prepared.receipt, resuming: false) }
        #expect(failure?.code == .targetUnexpectedReply)
        #expect(site.onDisk == site.first.pem.data)
        // Somebody else damages the file meanwhile: the disk is restored although HAProxy is gone, and that is said.
        try Data("garbage".utf8).write(to: URL(filePath: site.path))
        let restored = await error {
            try await target.restore(
                prepared.receipt, previous: prepared.previousBundle, certificate: new.certificate, resuming: false)
        }
        #expect(restored?.code.family == "target")
        #expect(restored?.message.contains("is restored") == true)
        #expect(site.onDisk == site.first.pem.data)
    }

    @Test func restoresTheMemoryWhenTheDiskIsFull() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let target = try site.target(.runtime(socket: haproxy.socket), port: haproxy.port)
        let new = try site.bundle(2)
        let prepared = try await target.prepare(new, fallback: nil, now: Date())
        site.files.isFull = true
        #expect(
            await code { try await target.apply(new, receipt: prepared.receipt, resuming: false) } == .fileUnwritable)
        #expect(try await Site.served(haproxy.port) == new.fingerprint)
        // Still full: what has to come back is in memory; the file was never changed.
        try await target.restore(
            prepared.receipt, previous: prepared.previousBundle, certificate: new.certificate, resuming: false)
        #expect(try await target.verifyRestored(prepared.receipt).map(\.served) == [site.first.fingerprint])
        #expect(site.onDisk == site.first.pem.data)
        #expect(try transaction(haproxy) == nil)
    }

    @Test func restoresTheDeployedBundleWhenTheFileWasChangedByHand() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let target = try site.target(.runtime(socket: haproxy.socket), port: haproxy.port)
        try site.bundle(8).pem.data.write(to: URL(filePath: site.path))
        let new = try site.bundle(2)
        let prepared = try await target.prepare(new, fallback: site.first, now: Date())
        #expect(prepared.findings.map(\.id) == ["memory-differs-from-disk"])
        #expect(prepared.previousBundle == site.first.pem)
        try await target.apply(new, receipt: prepared.receipt, resuming: false)
        try await target.restore(
            prepared.receipt, previous: prepared.previousBundle, certificate: new.certificate, resuming: false)
        #expect(try await target.verifyRestored(prepared.receipt).map(\.served) == [site.first.fingerprint])
        #expect(site.onDisk == site.first.pem.data)
    }

    @Test func restoresABundleThatSomebodyElseWroteByteByByte() async throws {
        let site = try Site()
        let text = String(decoding: site.first.pem.data, as: UTF8.self)
        let byHand = Data(
            ("# the key is below\n\n" + text.replacingOccurrences(of: "-----BEGIN", with: "\n-----BEGIN") + "\n\n").utf8
        )
        try byHand.write(to: URL(filePath: site.path))
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let target = try site.target(.runtime(socket: haproxy.socket), port: haproxy.port)
        let new = try site.bundle(2)
        let prepared = try await target.prepare(new, fallback: nil, now: Date())
        #expect(prepared.previousBundle?.data == byHand)
        try await target.apply(new, receipt: prepared.receipt, resuming: false)
        try await target.restore(
            prepared.receipt, previous: prepared.previousBundle, certificate: new.certificate, resuming: false)
        #expect(try await target.verifyRestored(prepared.receipt).map(\.served) == [site.first.fingerprint])
        #expect(site.onDisk == byHand)
    }

    @Test func letsManyRotationsUseOneSocket() async throws {
        let site = try Site()
        let paths = try (1...6).map {
            try site.directory.write(try site.bundle($0, names: ["n\($0).test"]).pem.data, to: "certs/n\($0).pem")
        }
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path] + paths)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, path) in paths.enumerated() {
                let host = "n\(index + 1).test"
                let declaration = try NodeDeclaration(
                    name: "t\(index)", bundle: path, reload: .runtime(socket: haproxy.socket),
                    endpoints: [Endpoint(host: "127.0.0.1", port: haproxy.port)])
                let target = TargetFactory.make(
                    declaration, files: site.files, prober: HandshakeProber(), logger: Site.logger)
                group.addTask {
                    for revision in 2...5 {
                        let new = try site.bundle(revision, names: [host])
                        let receipt = try await target.prepare(new, fallback: nil, now: Date()).receipt
                        try await target.apply(new, receipt: receipt, resuming: false)
                        _ = try await target.verify(new, receipt: receipt)
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(try transaction(haproxy) == nil)
    }

    @Test func swapsWhileRequestsAreServed() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let target = try site.target(.runtime(socket: haproxy.socket), port: haproxy.port)
        let isDone = Mutex(false)
        let load = Task {
            var served: [Result<Fingerprint, any Error>] = []
            while !isDone.withLock({ $0 }) { served.append(await Result { try await Site.served(haproxy.port) }) }
            return served
        }
        var known: Set<Fingerprint> = [site.first.fingerprint]
        for revision in 2...20 {
            let new = try site.bundle(revision)
            known.insert(new.fingerprint)
            let receipt = try await target.prepare(new, fallback: nil, now: Date()).receipt
            try await target.apply(new, receipt: receipt, resuming: false)
            _ = try await target.verify(new, receipt: receipt)
        }
        isDone.withLock { $0 = true }
        let served = await load.value
        #expect(served.count > 10)
        #expect(try served.allSatisfy { known.contains(try $0.get()) })
    }
}
