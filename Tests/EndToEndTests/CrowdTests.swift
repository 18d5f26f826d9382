import CertsCore
import CertsTesting
import Foundation
import Synchronization
import Testing

/// Many certificates of one HAProxy in one run: at most one reload, and each stands or falls by itself.
@Suite struct CrowdTests {
    @Test func `twelve certificates share one reload`() async throws {
        let crowd = try await Crowd.make("master", "master")
        let start = try await crowd.processes()
        let first = try await crowd.expectServed()
        try await crowd.certs("rotate", "--all", exits: 0)
        let second = try await crowd.expectServed()
        #expect(second.allSatisfy { first[$0.key] != $0.value })
        #expect(try await crowd.processes().reloads == start.reloads + 1)
        #expect(try await crowd.processes().workers != start.workers)
        try await crowd.certs("rotate", "--all", exits: 0)
        #expect(try await crowd.expectServed().allSatisfy { second[$0.key] != $0.value })
        #expect(try await crowd.processes().reloads == start.reloads + 2)
        // Nothing is due: nothing is loaded again.
        try await crowd.certs("rotate", exits: 0)
        #expect(try await crowd.processes().reloads == start.reloads + 2)
    }

    @Test func `one that is not seen served is rolled back alone`() async throws {
        let crowd = try await Crowd.make("master", "master")
        try await crowd.certs("rotate", "--all", exits: 0)
        let before = try await crowd.expectServed()
        let reloads = try await crowd.processes().reloads
        // HAProxy loads it before the right one, and serves it.
        let copy = crowd.bundle("c06x")
        try FileManager.default.copyItem(atPath: crowd.bundle("c07"), toPath: copy)
        let run = try await crowd.certs("rotate", "--all", "-o", "json", exits: 3)
        let results = try run.decoded(ResultsDocument.self).results
        #expect(results.filter { $0.outcome != "committed" }.map(\.certificate) == ["c07"], "\(run.all)")
        let failed = try #require(results.first { $0.certificate == "c07" })
        #expect((failed.outcome, failed.code) == ("rolled-back", "served.other"))
        let after = try await crowd.expectServed("\(run.all)")
        #expect(Crowd.names.filter { after[$0] == before[$0] } == ["c07"])
        #expect(try await crowd.processes().reloads == reloads + 2, "one for all, and one for the way back")
        try FileManager.default.removeItem(atPath: copy)
        try await crowd.certs("deploy", "c07", exits: 0)
        #expect(try await crowd.expectServed()["c07"] != before["c07"])
    }

    @Test func `a load that fails brings all of them back`() async throws {
        let crowd = try await Crowd.make("master", "master")
        try await crowd.certs("rotate", "--all", exits: 0)
        let before = try await crowd.expectServed()
        let workers = try await crowd.processes().workers
        try crowd.directory.write("not a certificate", to: "site/somebodys.pem")
        let run = try await crowd.certs("rotate", "--all", "-o", "json", exits: 6)
        let results = try run.decoded(ResultsDocument.self).results
        #expect(results.map(\.certificate) == Crowd.names)
        #expect(results.allSatisfy { $0.outcome == "rolled-back" && $0.code == "target.reloadFailed" }, "\(run.all)")
        #expect(try await crowd.expectServed("\(run.all)") == before)
        #expect(try await crowd.processes().workers == workers)
        // Once the file is gone, what was issued is deployed.
        unlink(crowd.bundle("somebodys"))
        let reloads = try await crowd.processes().reloads
        try await crowd.certs("rotate", "--all", exits: 0)
        #expect(try await crowd.expectServed().allSatisfy { before[$0.key] != $0.value })
        #expect(try await crowd.processes().reloads == reloads + 1)
    }

    @Test(arguments: ["before-apply", "after-apply", "before-verify", "before-commit"])
    func `a run that dies is finished by the next one, with one reload`(_ point: String) async throws {
        let crowd = try await Crowd.make("master", "master")
        try await crowd.certs("rotate", "--all", exits: 0)
        let before = try await crowd.expectServed()
        try await crowd.certs("rotate", "--all", exits: 128 + SIGKILL, fault: "\(point):kill")
        let reloads = try await crowd.processes().reloads
        let run = try await crowd.certs("rotate", exits: 0)
        #expect(try await crowd.expectServed("\(run.all)").allSatisfy { before[$0.key] != $0.value }, "\(run.all)")
        #expect(try await crowd.processes().reloads == reloads + 1)
        let status = try await crowd.certs("status", "-o", "json", exits: 0).decoded(StatusDocument.self)
        #expect(status.certificates.allSatisfy { $0.revision == 2 && $0.state == "valid" })
    }

    @Test func `twelve hot swaps need no reload`() async throws {
        let crowd = try await Crowd.make("runtime", "admin")
        let start = try await crowd.processes()
        let first = try await crowd.expectServed()
        try await crowd.certs("rotate", "--all", exits: 0)
        let second = try await crowd.expectServed()
        #expect(second.allSatisfy { first[$0.key] != $0.value })
        #expect(try await crowd.processes() == start)
        // What is in memory is on the disk: a reload changes nothing.
        let balancer = crowd.balancer
        try await blocking.run { _ = try balancer.askMaster("reload") }
        #expect(try await eventually { (try? await crowd.processes().workers).map { $0 != start.workers } ?? false })
        #expect(try await crowd.expectServed() == second)
    }

    /// Another admin puts the old certificate back, right after the swap.
    @Test func `of twelve hot swaps the one that is not seen served is rolled back alone`() async throws {
        let crowd = try await Crowd.make("runtime", "relay")
        let (real, path) = (crowd.balancer.socket, crowd.bundle("c07"))
        let old = try Data(contentsOf: URL(filePath: path))
        let isSwapped = Mutex<Bool?>(nil)
        let relay = try FakeHAProxy(at: crowd.directory.path("relay.sock"), certificates: []) { _, command in
            if command == "commit ssl cert \(path)" { isSwapped.withLock { $0 = $0 ?? false } }
            // The last question of a swap; swaps come one after the other.
            guard command.hasPrefix("show info"), isSwapped.withLock({ $0 }) == false else { return .forward(to: real) }
            isSwapped.withLock { $0 = true }
            _ = try? FakeHAProxy.ask(real, Data("set ssl cert \(path) <<\n".utf8) + old + [10])
            _ = try? FakeHAProxy.ask(real, Data("commit ssl cert \(path)\n".utf8))
            return .forward(to: real)
        }
        defer { relay.stop() }
        let before = try await crowd.expectServed()
        let start = try await crowd.processes()
        let run = try await crowd.certs("rotate", "--all", "-o", "json", exits: 3)
        let results = try run.decoded(ResultsDocument.self).results
        #expect(results.filter { $0.outcome != "committed" }.map(\.certificate) == ["c07"], "\(run.all)")
        #expect(results.first { $0.certificate == "c07" }?.code == "served.other")
        let after = try await crowd.expectServed("\(run.all)")
        #expect(Crowd.names.filter { after[$0] == before[$0] } == ["c07"])
        #expect(try await crowd.processes() == start)
    }
}
