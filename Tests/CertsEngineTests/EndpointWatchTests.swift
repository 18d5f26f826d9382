import CertsCore
import CertsCrypto
import CertsHAProxy
import CertsStore
import CertsTesting
import Foundation
import Synchronization
import Testing

@testable import CertsEngine

@Suite struct EndpointWatchTests {
    /// A server whose client may only ask for names below `example.com`.
    private static func listen(_ leaf: TestPKI.Identity, _ pki: TestPKI) throws -> TLSListener {
        let identity = TLSListener.Identity(chain: [leaf.certificate, pki.intermediate.certificate], key: leaf.key)
        let loopback = try #require(SocketAddress("127.0.0.1:1"))
        return try TLSListener(SocketAddress(address: loopback.address, port: 0)) { hello in
            hello.serverName?.hasSuffix("example.com") == true ? identity : nil
        } handle: { _ in
        }
    }

    private static func endpoint(_ port: Int, _ name: String) -> WatchedEndpoint {
        WatchedEndpoint(Endpoint(host: "127.0.0.1", port: port, serverName: name))
    }

    @Test func eachEndpointHasItsFactsOrItsReason() async throws {
        let (world, pki) = (try await EngineWorld(), try TestPKI())
        let listener = try Self.listen(try pki.leaf(["www.example.com"]), pki)
        let port = listener.address.port
        let watched = [
            Self.endpoint(port, "www.example.com"), Self.endpoint(port, "other.example.com"),
            Self.endpoint(port, "www.example.net"),
            // A name must not be taken for what happened.
            Self.endpoint(try LoopbackPort.reserve(), "handshake.example.com"),
        ]
        let watch = EndpointWatch(
            prober: HandshakeProber(), inventory: world.database, anchors: [pki.root.certificate])
        // Found, and found again without being judged again.
        for look in 1...2 {
            #expect(try await watch.look(at: watched) { Date() })
            let seen = try await sightings(world)
            #expect(watched.map { seen[$0.label]?.facts.problem } == [nil, nil, .handshakeFailed, .unreachable])
            #expect(watched.map { seen[$0.label]?.facts.isChainValid } == [true, false, nil, nil])
            let good = try #require(seen[watched[0].label])
            #expect(good.facts.record?.subjectCommonName == "www.example.com")
            #expect(good.facts.chainNotAfter.map { $0 <= good.facts.record?.notAfter ?? .distantPast } == true)
            #expect(good.stapled == StapledStatus.none)
            let errors = try await world.database.watchErrors()
            #expect(errors.map(\.reason) == [.handshakeFailed, .unreachable])
            #expect(errors.map(\.count) == [look, look], "an endpoint is counted at each look")
            #expect(try await world.database.watchSources().map(\.isUp) == [true])
        }

        listener.stop()
        #expect(try await !watch.look(at: watched) { Date() })
        let last = try #require(try await sightings(world)[watched[0].label])
        #expect(last.facts.problem == .unreachable)
        #expect(last.facts.record?.subjectCommonName == "www.example.com", "the dates that were last seen stay")
        #expect(last.facts.isChainValid == true, "and so does what was found of them")
        #expect(try await world.database.watchSources().map(\.problem) == [.unreachable])
    }

    private func sightings(_ world: EngineWorld) async throws -> [String: EndpointSighting] {
        Dictionary(
            try await world.database.sightings().map { ($0.label, $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// Serves what it was last told to.
    private final class Server: Prober {
        let served: Mutex<ServedCertificate>

        init(_ chain: [Certificate], staple: Data? = nil) throws {
            served = Mutex(try Self.answer(chain, staple))
        }

        func serve(_ chain: [Certificate], staple: Data? = nil) throws {
            let answer = try Self.answer(chain, staple)
            served.withLock { $0 = answer }
        }

        private static func answer(_ chain: [Certificate], _ staple: Data?) throws -> ServedCertificate {
            let leaf = try #require(chain.first)
            return ServedCertificate(
                chainDER: chain.map(\.der), fingerprint: leaf.fingerprint, subject: leaf.record.subject,
                notAfter: leaf.record.notAfter, staple: staple)
        }

        func probe(_ endpoint: Endpoint, as client: ClientProfile, deadline: Duration) async throws
            -> ServedCertificate
        { served.withLock { $0 } }
    }

    @Test func aChainThatStaysTheSameIsJudgedAnewWhenItsTimesSaySo() async throws {
        let (world, pki) = (try await EngineWorld(), try TestPKI())
        let leaf = try pki.leaf(["www.example.com"])
        let chain = [leaf.certificate, pki.intermediate.certificate]
        let server = try Server(chain)
        let watch = EndpointWatch(prober: server, inventory: world.database, anchors: [pki.root.certificate])
        let one = Self.endpoint(443, "www.example.com")
        func isValid(_ endpoint: WatchedEndpoint, _ now: Date) async throws -> Bool? {
            _ = try await watch.look(at: [endpoint]) { now }
            return try await sightings(world)[endpoint.label]?.facts.isChainValid
        }
        let (begin, end) = (leaf.certificate.record.notBefore, leaf.certificate.record.notAfter)
        let times: [(Date, Bool)] = [
            (pki.now, true), (pki.now + 1, true), (end - 1, true), (end + 1, false), (end + 2, false),
            // A clock that was ahead, and is set back.
            (pki.now, true), (begin - 1, false), (begin + 1, true),
        ]
        for (time, expected) in times {
            #expect(try await isValid(one, time) == expected, "\(time)")
            #expect(try await isValid(one, time) == expected, "\(time), again")
        }
        // The same bytes for another name, and other bytes for the same name.
        #expect(try await isValid(Self.endpoint(443, "www.example.net"), pki.now) == false)
        #expect(try await isValid(one, pki.now) == true)
        try server.serve([try TestPKI().leaf(["www.example.com"]).certificate])
        #expect(try await isValid(one, pki.now) == false)
        try server.serve(chain)
        #expect(try await isValid(one, pki.now) == true)
    }

    @Test func aStapleIsReadAtEachLook() async throws {
        let (world, pki) = (try await EngineWorld(), try TestPKI())
        let chain = [try pki.leaf(["www.example.com"]).certificate, pki.intermediate.certificate]
        let signer = ResponseSigner(issuer: pki.intermediate)
        let server = try Server(chain)
        let watch = EndpointWatch(prober: server, inventory: world.database, anchors: [pki.root.certificate])
        let one = Self.endpoint(443, "www.example.com")
        let cases: [(Data?, StapledStatus)] = [
            (nil, .none), (try signer.response(about: [chain[0]]), .good), (nil, .none),
            (try signer.response(about: [chain[0]], status: .revoked(reason: "keyCompromise")), .revoked),
            (Data("no response".utf8), .unknown),
        ]
        for (staple, expected) in cases {
            try server.serve(chain, staple: staple)
            _ = try await watch.look(at: [one]) { Date() }
            let seen = try #require(try await sightings(world)[one.label])
            #expect(seen.stapled == expected)
            #expect((seen.stapleNextUpdate != nil) == (expected == .good || expected == .revoked))
            #expect(seen.facts.isChainValid == true)
        }
    }
}
