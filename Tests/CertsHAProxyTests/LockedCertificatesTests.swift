import CertsCore
import CertsTesting
import Foundation
import Synchronization
import Testing

@testable import CertsHAProxy

/// HAProxy sends away whoever comes while another client is at its certificates, and be it to look.
@Suite struct LockedCertificatesTests {
    private static let words = "Can't show! Operations on certificates are currently locked!\n\n"

    private func session(_ socket: String, _ deadline: Duration = .seconds(10)) -> RuntimeSession {
        RuntimeSession(connection: RuntimeConnection(socket: socket, deadline: deadline), logger: Site.logger)
    }

    @Test func `many look at the same time, and one replaces`() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let (name, session) = (try StoreName(site.path), session(haproxy.socket))
        let bundles = try (2...21).map { try site.bundle($0) }
        try await withThrowingTaskGroup { group in
            for _ in 1...6 {
                group.addTask {
                    for _ in 1...100 {
                        let stored = try await session.stored(name)
                        #expect(stored?.status == "Used")
                    }
                }
            }
            group.addTask {
                for bundle in bundles { try await session.swap(name, to: bundle.pem, leaf: bundle.leaf) }
            }
            try await group.waitForAll()
        }
        #expect(try await Site.served(haproxy.port) == bundles.last?.fingerprint)
    }

    @Test(arguments: ["show ssl cert ", "set ssl cert ", "commit ssl cert "])
    func `is asked again until it is free`(command: String) async throws {
        let site = try Site()
        let refusals = Mutex(0)
        let fake = try FakeHAProxy(at: site.directory.path("busy.sock"), certificates: [site.path]) { _, line in
            guard line.hasPrefix(command) else { return .normal }
            return refusals.withLock { count in
                count += 1
                return count <= 3 ? .reply(Self.words) : .normal
            }
        }
        defer { fake.stop() }
        let new = try site.bundle(2)
        try await session(fake.path).swap(try StoreName(site.path), to: new.pem, leaf: new.leaf)
        #expect(fake.state.memory[site.path]?.sha1 == new.leaf.sha1)
        #expect(refusals.withLock { $0 } > 3)
    }

    @Test func `is not asked for ever`() async throws {
        let site = try Site()
        let fake = try FakeHAProxy(at: site.directory.path("busy.sock"), certificates: [site.path]) { _, line in
            line.hasPrefix("set") ? .reply("Can't update the certificate!\n\(Self.words)") : .normal
        }
        defer { fake.stop() }
        let new = try site.bundle(2)
        let session = session(fake.path, .milliseconds(200))
        let failure = await error { try await session.swap(try StoreName(site.path), to: new.pem, leaf: new.leaf) }
        #expect(failure?.code == .targetRefused)
        #expect(failure?.retry == .later)
        #expect(fake.state.transaction == nil)
    }
}
