import CertsCore
import CertsTesting
import Foundation
import Testing

@testable import CertsHAProxy

/// A certificate that HAProxy does not have yet comes into a running one through a list, and goes again.
@Suite(.serialized) struct RuntimeListTests {
    static let host = GrowingSite.newHost

    /// - Parameter socket: `nil`: that of HAProxy.
    private func target(
        _ growing: GrowingSite, socket: String? = nil, options: String? = nil, filters: [String] = []
    ) throws -> any DeploymentTarget {
        growing.site.target(
            try growing.declaration(socket: socket, options: options, filters: filters))
    }

    private func list(_ growing: GrowingSite) throws -> String {
        try String(contentsOfFile: growing.list.rawValue, encoding: .utf8)
    }

    private func lines(_ growing: GrowingSite) throws -> [Substring] {
        try list(growing).split(separator: "\n").filter { $0.contains(growing.name.rawValue) }
    }

    private func expectNothing(of growing: GrowingSite, _ before: String?, _ comment: Comment? = nil) async throws {
        #expect(try await growing.lists.session.details(growing.name) == nil, comment)
        #expect(try await growing.entries().isEmpty, comment)
        #expect(try await growing.transaction() == nil, comment)
        #expect(try await growing.served == growing.site.first.fingerprint, comment)
        #expect(!FileManager.default.fileExists(atPath: growing.name.rawValue), comment)
        if let before { #expect(try list(growing) == before, comment) }
    }

    private func expectServed(_ growing: GrowingSite, inDirectory: Bool = false, _ comment: Comment? = nil) async throws
    {
        #expect(try await growing.served == growing.new.fingerprint, comment)
        #expect(try await growing.entries().count == 1, comment)
        #expect(try await growing.transaction() == nil, comment)
        #expect(FileManager.default.contents(atPath: growing.name.rawValue) == growing.new.pem.data, comment)
        if !inDirectory { #expect(try lines(growing).count == 1, comment) }
    }

    @Test(arguments: [false, true])
    func servesItAtOnceAndAfterTheNextStart(inDirectory: Bool) async throws {
        let growing = try await inDirectory ? GrowingSite.directory() : GrowingSite.crtList()
        let before = inDirectory ? nil : try list(growing)
        let target = try target(growing)
        let pid = try RuntimeReply.process(try growing.haproxy.ask("show info")).pid
        let prepared = try await target.prepare(growing.new, fallback: nil, now: Date())
        #expect(prepared.receipt.files.map(\.role).contains(.list))
        try await expectNothing(of: growing, before)
        for resuming in [false, false, true] {
            try await target.apply(growing.new, receipt: prepared.receipt, resuming: resuming)
            let verified = try await target.verify(growing.new, receipt: prepared.receipt)
            #expect(verified.observations.map(\.served) == [growing.new.fingerprint])
            try await expectServed(growing, inDirectory: inDirectory)
        }
        #expect(try RuntimeReply.process(try growing.haproxy.ask("show info")).pid == pid)
        // The next rotation is a swap, and leaves the list alone.
        let after = inDirectory ? nil : try list(growing)
        let next = try growing.site.bundle(3, names: [Self.host])
        let receipt = try await target.prepare(next, fallback: growing.new, now: Date()).receipt
        #expect(!receipt.files.map(\.role).contains(.list))
        try await target.apply(next, receipt: receipt, resuming: false)
        _ = try await target.verify(next, receipt: receipt)
        if let after { #expect(try list(growing) == after) }
        growing.haproxy.stop()
        let again = try await RealHAProxy.start(
            in: growing.site.directory,
            bind: inDirectory ? "crt \(growing.list)/" : "crt-list \(growing.list)")
        #expect(try await Site.served(again.port, serverName: Self.host) == next.fingerprint)
    }

    @Test func writesOptionsAndFiltersAndKeepsEveryOtherByte() async throws {
        let growing = try await GrowingSite.crtList("# a comment\n\n")
        let before = try list(growing)
        let target = try target(growing, options: "alpn h2,http/1.1", filters: [Self.host, "!x.example.com"])
        let prepared = try await target.prepare(growing.new, fallback: nil, now: Date())
        try await target.apply(growing.new, receipt: prepared.receipt, resuming: false)
        _ = try await target.verify(growing.new, receipt: prepared.receipt)
        #expect(
            try list(growing) == before + "\(growing.name) [alpn h2,http/1.1] \(Self.host) !x.example.com\n")
        let entry = try #require(try await growing.entries().first)
        #expect(entry.text.hasPrefix("[alpn h2,http/1.1]") && entry.filters == [Self.host, "!x.example.com"])
        try await target.restore(prepared.receipt, previous: nil, certificate: growing.new.certificate, resuming: false)
        #expect(try list(growing) == before)
    }

    @Test(arguments: [false, true])
    func takesItOutInReverse(inDirectory: Bool) async throws {
        let growing = try await inDirectory ? GrowingSite.directory() : GrowingSite.crtList()
        let before = inDirectory ? nil : try list(growing)
        let real = growing.haproxy.socket
        let between = try FakeHAProxy(at: growing.site.directory.path("between.sock"), certificates: []) { _, _ in
            .forward(to: real)
        }
        let target = try target(growing, socket: between.path)
        let prepared = try await target.prepare(growing.new, fallback: nil, now: Date())
        try await target.apply(growing.new, receipt: prepared.receipt, resuming: false)
        let (commands, changes) = (between.state.commands.count, growing.site.files.changes.count)
        for resuming in [false, true, false] {
            try await target.restore(
                prepared.receipt, previous: nil, certificate: growing.new.certificate, resuming: resuming)
            #expect(
                try await target.verifyRestored(prepared.receipt).map(\.served) == [growing.site.first.fingerprint])
            try await expectNothing(of: growing, before)
        }
        let removals = between.state.commands[commands...].filter { $0.hasPrefix("del ") }.map { $0.prefix(12) }
        #expect(removals == ["del ssl crt-", "del ssl cert"])
        let files = growing.site.files.changes[changes...]
        #expect(Array(files) == (inDirectory ? [] : ["install site.list"]) + ["remove new.pem"])
    }

    // MARK: After a crash

    enum Leftover: Int, CaseIterable {
        case new, set, commit, entry, file, line
    }

    private func leave(_ leftover: Leftover, in growing: GrowingSite) throws {
        let (haproxy, name) = (growing.haproxy, growing.name)
        let steps: [() throws -> Void] = [
            { try haproxy.ask("new ssl cert \(name)") },
            { try haproxy.ask("set ssl cert \(name) <<", payload: growing.new.pem.data) },
            { try haproxy.ask("commit ssl cert \(name)") },
            { try haproxy.ask("add ssl crt-list \(growing.list) \(name)") },
            { try growing.new.pem.data.write(to: URL(filePath: name.rawValue)) },
            {
                try (try list(growing) + "\(name)\n").write(
                    toFile: growing.list.rawValue, atomically: true, encoding: .utf8)
            },
        ]
        for step in steps.prefix(leftover.rawValue + 1) { try step() }
    }

    @Test(arguments: Leftover.allCases, [true, false])
    func convergesAfterACrash(leftover: Leftover, goesOn: Bool) async throws {
        let growing = try await GrowingSite.crtList()
        let before = try list(growing)
        let target = try target(growing)
        let receipt = try await target.prepare(growing.new, fallback: nil, now: Date()).receipt
        try leave(leftover, in: growing)
        if goesOn {
            try await target.apply(growing.new, receipt: receipt, resuming: true)
            _ = try await target.verify(growing.new, receipt: receipt)
            try await expectServed(growing)
        }
        try await target.restore(receipt, previous: nil, certificate: growing.new.certificate, resuming: true)
        _ = try await target.verifyRestored(receipt)
        try await expectNothing(of: growing, before)
    }

    /// The process dies at every command in turn, after HAProxy has carried it out.
    @Test(arguments: [true, false])
    func convergesAfterADeathAtAnyCommand(goesOn: Bool) async throws {
        let growing = try await GrowingSite.crtList()
        let before = try list(growing)
        let target = try target(growing)
        let real = growing.haproxy.socket
        for step in 0..<60 {
            let receipt = try await target.prepare(growing.new, fallback: nil, now: Date()).receipt
            let dying = try FakeHAProxy(at: growing.site.directory.path("dying.sock"), certificates: []) { index, _ in
                index == step ? .deliver(to: real) : index > step ? .hangUp : .forward(to: real)
            }
            let death = await error {
                try await self.target(growing, socket: dying.path).apply(
                    growing.new, receipt: receipt, resuming: false)
            }
            if goesOn {
                try await target.apply(growing.new, receipt: receipt, resuming: true)
                try await expectServed(growing, "step \(step)")
            }
            try await target.restore(receipt, previous: nil, certificate: growing.new.certificate, resuming: true)
            try await expectNothing(of: growing, before, "step \(step)")
            if death == nil {
                #expect(step > 8)
                return
            }
        }
        Issue.record("the way in has no end")
    }

    // MARK: Several at once

    private func others(_ growing: GrowingSite, _ names: [String]) throws -> [StagedBundle] {
        try names.map { try growing.site.bundle($0, names: ["\($0).example.com"]) }
    }

    @Test func noneOfManyAddedAtTheSameTimeLosesItsLine() async throws {
        let growing = try await GrowingSite.crtList()
        let bundles = try others(growing, ["a", "b", "c", "d", "e", "f"])
        var declaration = try growing.declaration()
        declaration.bundle = growing.site.directory.path("certs/{name}.pem")
        declaration.endpoints = [Endpoint(host: "127.0.0.1", port: growing.haproxy.port)]
        let target = growing.site.target(declaration)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for bundle in bundles {
                group.addTask {
                    let receipt = try await target.prepare(bundle, fallback: nil, now: Date()).receipt
                    try await target.apply(bundle, receipt: receipt, resuming: false)
                    _ = try await target.verify(bundle, receipt: receipt)
                }
            }
            try await group.waitForAll()
        }
        let listed = CrtListFile(Data(try list(growing).utf8)).entries.map(\.path)
        #expect(Set(listed) == Set(bundles.map { declaration.bundlePath(for: $0.certificate) } + [growing.site.path]))
        #expect(listed.count == bundles.count + 1)
    }

    /// Two HAProxys of one host may load one list; each has a socket, and so a lock, of its own.
    @Test func twoNodesThatShareAListLoseNoLine() async throws {
        let growing = try await GrowingSite.crtList()
        let elsewhere = try TemporaryDirectory(prefix: "hap")
        let second = try await RealHAProxy.start(in: elsewhere, bind: "crt-list \(growing.list)")
        let pattern = growing.site.directory.path("certs/{name}.pem")
        let targets = try [(growing.haproxy.socket, growing.haproxy.port), (second.socket, second.port)].map {
            socket, port in
            var declaration = try growing.declaration(socket: socket)
            declaration.bundle = pattern
            declaration.endpoints = [Endpoint(host: "127.0.0.1", port: port)]
            return growing.site.target(declaration)
        }
        growing.site.files.pause = .milliseconds(2)
        let bundles = [try others(growing, ["a", "b", "c", "d"]), try others(growing, ["w", "x", "y", "z"])]
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (target, bundles) in zip(targets, bundles) {
                group.addTask {
                    for bundle in bundles {
                        let receipt = try await target.prepare(bundle, fallback: nil, now: Date()).receipt
                        try await target.apply(bundle, receipt: receipt, resuming: false)
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(CrtListFile(Data(try list(growing).utf8)).entries.count == 9)
    }

    // MARK: What is refused

    @Test func leavesALineThatSomebodyElseHasWritten() async throws {
        let growing = try await GrowingSite.crtList()
        try (try list(growing) + "\(growing.name) # soon\n").write(
            toFile: growing.list.rawValue, atomically: true, encoding: .utf8)
        let before = try list(growing)
        let target = try target(growing)
        let prepared = try await target.prepare(growing.new, fallback: nil, now: Date())
        try await target.apply(growing.new, receipt: prepared.receipt, resuming: false)
        #expect(try list(growing) == before)
        let restoration = BundleRestoration(
            certificate: growing.new.certificate, receipt: prepared.receipt, previous: prepared.previous,
            resuming: false)
        #expect(await target.restore([restoration]) == [nil])
        #expect(try list(growing) == before)
        #expect(try await growing.entries().isEmpty)
    }

    @Test func saysThatTheListIsNotThereBeforeItChangesAnything() async throws {
        let growing = try await GrowingSite.crtList()
        let memory = try growing.haproxy.ask("show ssl cert")
        let kept = try list(growing)
        unlink(growing.list.rawValue)
        let target = try target(growing)
        let failure = await error { _ = try await target.prepare(growing.new, fallback: nil, now: Date()) }
        #expect(failure?.code == .fileMissing)
        #expect(failure?.hint?.contains("`file` of `list`") == true)
        #expect(try growing.haproxy.ask("show ssl cert") == memory)
        // And one that goes between the two keeps no rollback from its end.
        try kept.write(toFile: growing.list.rawValue, atomically: true, encoding: .utf8)
        let receipt = try await target.prepare(growing.new, fallback: nil, now: Date()).receipt
        unlink(growing.list.rawValue)
        #expect(await code { try await target.apply(growing.new, receipt: receipt, resuming: false) } == .fileMissing)
        try await target.restore(receipt, previous: nil, certificate: growing.new.certificate, resuming: false)
        try await expectNothing(of: growing, nil)
    }

    @Test func saysThatHAProxyHasNoSuchList() async throws {
        let growing = try await GrowingSite.crtList()
        var declaration = try growing.declaration()
        declaration.list = ListDeclaration(path: "/nonexistent/site.list")
        let target = growing.site.target(declaration)
        let failure = await error { _ = try await target.prepare(growing.new, fallback: nil, now: Date()) }
        #expect(failure?.code == .targetNotReferenced)
        #expect(failure?.hint?.contains("crt-list FILE") == true)
    }

    @Test func leavesNothingOfAnOptionThatHAProxyRefuses() async throws {
        let growing = try await GrowingSite.crtList()
        let before = try list(growing)
        let target = try target(growing, options: "nonsense on")
        let receipt = try await target.prepare(growing.new, fallback: nil, now: Date()).receipt
        let failure = await error { try await target.apply(growing.new, receipt: receipt, resuming: false) }
        #expect(failure?.code == .targetRefused)
        #expect(failure?.message.contains("nonsense") == true, "\(failure?.message ?? "no error")")
        try await target.restore(receipt, previous: nil, certificate: growing.new.certificate, resuming: false)
        try await expectNothing(of: growing, before)
    }

    @Test func refusesANameThatAnotherOfItsKindHas() async throws {
        let growing = try await GrowingSite.crtList()
        let target = try target(growing)
        let clashing = try growing.site.bundle(2, names: [Self.host, Site.host])
        let failure = await error { _ = try await target.prepare(clashing, fallback: nil, now: Date()) }
        #expect(failure?.code == .targetDuplicateName)
        #expect(failure?.message.contains(growing.site.path) == true, "\(failure?.message ?? "no error")")
        // HAProxy keeps one certificate for each kind of key.
        let other = try growing.site.bundle("messenger", names: [Self.host, Site.host], algorithm: .rsa2048)
        _ = try await target.prepare(other, fallback: nil, now: Date())
    }
}
