import CertsCore
import CertsDNS
import Foundation

/// Asks every server of a zone until all of them show a record: the CA may ask any.
struct PropagationWatch: Sendable {
    struct Server: Sendable, Hashable {
        /// For messages.
        var name: String
        var address: SocketAddress
        var isAuthoritative: Bool

        var shown: String { name == "\(address)" ? name : "\(name) (\(address))" }
    }

    /// What a server shows.
    private enum Sight: Sendable {
        case asWanted
        /// Not what is wanted, in words.
        case other(String)
        /// This host has no way there; another address of the same server may do.
        case noRoute(String)
    }

    var name: String
    var servers: [Server]
    var propagation: Propagation

    /// - Parameter isShown: whether the texts at the name are what the CA wants to see.
    /// - Throws: `issuer.challengeFailed` that names each server that does not show it, and what it shows.
    func wait(_ isShown: @escaping @Sendable ([String]) -> Bool) async throws {
        let deadline = ContinuousClock.now + .milliseconds(Int(propagation.timeout * 1000))
        var waiting = servers
        var reached: Set<String> = []
        while true {
            let sights = await look(waiting, until: deadline, isShown)
            var missing: [(Server, String)] = []
            var unroutable: [(Server, String)] = []
            for (server, sight) in zip(waiting, sights) {
                switch sight {
                case .asWanted: reached.insert(server.name)
                case .other(let words): missing.append((server, words))
                case .noRoute(let words): unroutable.append((server, words))
                }
            }
            // IPv6 addresses on a host without IPv6: the server's other address stands for it.
            missing += unroutable.filter { !reached.contains($0.0.name) }
            if missing.isEmpty { return }
            let pause = Duration.milliseconds(Int(max(0.05, propagation.interval) * 1000))
            guard ContinuousClock.now + pause < deadline else { throw failure(missing) }
            waiting = missing.map(\.0)
            try await Task.sleep(for: pause)
        }
    }

    private func look(
        _ servers: [Server], until deadline: ContinuousClock.Instant, _ isShown: @escaping @Sendable ([String]) -> Bool
    ) async -> [Sight] {
        let name = name
        return await concurrently(servers, width: 16) { server in
            let left = max(.milliseconds(200), ContinuousClock.now.duration(to: deadline))
            let client = DNSClient(server: server.address, timeout: min(left, .seconds(5)))
            let result = await client.result(of: DNSQuestion(name, .txt), recursive: !server.isAuthoritative)
            switch result {
            case .failure(let failure):
                if case .noRoute = failure.reason { return .noRoute(failure.words) }
                return .other(failure.words)
            case .success(let answer): return Self.sight(answer, isShown)
            }
        }
    }

    private static func sight(_ answer: DNSAnswer, _ isShown: ([String]) -> Bool) -> Sight {
        let texts = answer.records.compactMap(\.text)
        if isShown(texts) { return .asWanted }
        switch (answer.outcome, texts.isEmpty) {
        case (.noSuchName, _): return .other("knows no such name")
        case (_, true): return .other("has no TXT record there")
        default:
            let values = texts.prefix(4).map { "\"\(TerminalText.sanitized($0, limit: 80))\"" }
            return .other("shows \(values.joined(separator: ", "))\(texts.count > 4 ? ", …" : "")")
        }
    }

    private func failure(_ missing: [(Server, String)]) -> CertsError {
        let words = missing.map { "\($0.0.shown) \($0.1)" }
        let count = "\(missing.count) of \(servers.count) DNS servers do not show the record"
        let place = TerminalText.sanitized(name, limit: 300)
        return CertsError(
            .challengeFailed,
            "after \(Int(propagation.timeout)) s, \(count) at \(place): \(words.prefix(3).joined(separator: "; "))",
            subject: name,
            hint: "check that the change reaches all servers of the zone, or give it more time (propagation.timeout)",
            details: words.count > 3 ? Array(words.dropFirst(3)) : [], retry: .later)
    }
}
