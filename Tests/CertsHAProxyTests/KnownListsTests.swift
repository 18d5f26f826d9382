import CertsCore
import CertsTesting
import Foundation
import Testing

@testable import CertsHAProxy

/// What HAProxy is asked about the other certificates of a list, counted by a socket in between.
@Suite(.serialized) struct KnownListsTests {
    static let names = (0..<12).map { "n\($0)" }

    let site: Site
    let haproxy: RealHAProxy
    let between: FakeHAProxy
    let list: String
    let target: any DeploymentTarget

    init() async throws {
        site = try Site()
        for name in Self.names {
            try site.directory.write(try Self.bundle(site, name).pem.data, to: "certs/\(name).pem")
        }
        let directory = site.directory
        list = try directory.write(
            Self.names.map { "\(directory.path("certs/\($0).pem"))\n" }.joined(), to: "site.list")
        haproxy = try await RealHAProxy.start(in: directory, bind: "crt-list \(list)")
        let real = haproxy.socket
        between = try FakeHAProxy(at: directory.path("between.sock"), certificates: []) { _, _ in .forward(to: real) }
        target = site.target(try Self.declaration(site, haproxy, socket: between.path))
    }

    private static func declaration(_ site: Site, _ haproxy: RealHAProxy, socket: String) throws -> NodeDeclaration {
        var declaration = try NodeDeclaration(
            name: "loadbalancer", bundle: site.directory.path("certs/{name}.pem"), reload: .runtime(socket: socket),
            endpoints: [Endpoint(host: "127.0.0.1", port: haproxy.port)])
        declaration.list = ListDeclaration(path: site.directory.path("site.list"))
        return declaration
    }

    private static func bundle(_ site: Site, _ name: String, also: [String] = []) throws -> StagedBundle {
        try site.bundle(name, names: ["\(name).example.com"] + also)
    }

    private func bundle(_ name: String, also: [String] = []) throws -> StagedBundle {
        try Self.bundle(site, name, also: also)
    }

    /// Rotates, and returns how often HAProxy was asked about another certificate of the list, and for how much in all.
    @discardableResult
    private func rotate(_ bundle: StagedBundle) async throws -> (others: Int, all: Int) {
        let before = between.state.commands.count
        let receipt = try await target.prepare(bundle, fallback: nil, now: Date()).receipt
        try await target.apply(bundle, receipt: receipt, resuming: false)
        let commands = between.state.commands[before...]
        let own = "/\(bundle.certificate).pem"
        let others = commands.filter { $0.hasPrefix("show ssl cert ") && !$0.hasSuffix(own) }
        return (others.count, commands.count)
    }

    @Test func asksForEachOtherCertificateOnceInARun() async throws {
        #expect(try await rotate(try bundle("n0")).others == Self.names.count - 1)
        for name in Self.names {
            let asked = try await rotate(try bundle(name))
            #expect(asked.others == 0, "\(name)")
            // What a swap and its preparation take, however long the list is.
            #expect(asked.all < 20, "\(name): \(asked.all)")
        }
    }

    @Test func asksOnlyForWhatAListHasNew() async throws {
        try await rotate(try bundle("n0"))
        // One of our own is known already, the one of another client is not.
        #expect(try await rotate(try bundle("ours")).others == 0)
        let path = site.directory.path("certs/theirs.pem")
        try haproxy.ask("new ssl cert \(path)")
        try haproxy.ask("set ssl cert \(path) <<", payload: try bundle("theirs").pem.data)
        try haproxy.ask("commit ssl cert \(path)")
        try haproxy.ask("add ssl crt-list \(list) \(path)")
        #expect(try await rotate(try bundle("n1")).others == 1)
        #expect(try await rotate(try bundle("n2")).others == 0)
        let failure = await code { try await rotate(try bundle("n3", also: ["theirs.example.com"])) }
        #expect(failure == .targetDuplicateName)
    }

    @Test func knowsWhatItHasSwapped() async throws {
        try await rotate(try bundle("n0", also: ["moved.example.com"]))
        let taken = await error { try await rotate(try bundle("n1", also: ["moved.example.com"])) }
        #expect(taken?.code == .targetDuplicateName)
        #expect(taken?.message.contains("n0.pem") == true)
        try await rotate(try bundle("n0"))
        #expect(try await rotate(try bundle("n1", also: ["moved.example.com"])).others == 0)
    }

    @Test func knowsWhatItHasBroughtBack() async throws {
        let new = try bundle("n0", also: ["moved.example.com"])
        let prepared = try await target.prepare(new, fallback: nil, now: Date())
        try await target.apply(new, receipt: prepared.receipt, resuming: false)
        let restoration = BundleRestoration(
            certificate: new.certificate, receipt: prepared.receipt, previous: prepared.previous, resuming: false)
        #expect(await target.restore([restoration]) == [nil])
        #expect(try await rotate(try bundle("n1", also: ["moved.example.com"])).others == 0)
    }

    @Test func asksAgainAfterAReload() async throws {
        try await rotate(try bundle("n0"))
        let old = haproxy.workers
        kill(haproxy.pid, SIGUSR2)
        let socket = haproxy.socket
        let isNew = try await ReloadSite.eventually {
            let answer = try? FakeHAProxy.ask(socket, Data("show info\n".utf8))
            guard let process = answer.flatMap({ try? RuntimeReply.process($0) }) else { return false }
            return !old.contains(Int32(process.pid)) && !process.isStopping
        }
        #expect(isNew)
        #expect(try await rotate(try bundle("n1")).others == Self.names.count - 1)
    }

    @Test func asksAgainAfterItsTime() async throws {
        let lists = GrowingSite.lists(at: between.path)
        let candidate = DuplicateNames.Claimant(
            store: site.directory.path("certs/n0.pem"), names: ["n0.example.com"], algorithm: "EC256")
        for (lifetime, others) in [(Duration.zero, Self.names.count), (.seconds(30), 0)] {
            let known = KnownLists(lifetime: lifetime)
            _ = try await lists.clashes(of: candidate, known: known)
            let before = between.state.commands.count
            #expect(try await lists.clashes(of: candidate, known: known).isEmpty)
            let asked = between.state.commands[before...].filter { $0.hasPrefix("show ssl cert ") }
            #expect(asked.count == others)
        }
    }
}
