import CertsCore
import CertsCrypto
import Foundation

/// Fresh handshakes with many endpoints, as a proof makes them.
enum ProbeBenchmark {
    struct Figures: Encodable {
        let count: Int
        let failures: Int
        let firstFailure: String
        let seconds: Double
        let processorSeconds: Double
    }

    /// - Parameters:
    ///   - list: a file with lines `ADDRESS PORT SERVERNAME`.
    ///   - rounds: handshakes with each; in turns TLS 1.2 and 1.3, with any key and with ECDSA only.
    ///   - width: threads, each with one handshake at a time.
    static func run(_ list: String, rounds: Int, width: Int) async throws {
        let endpoints = try read(list)
        let pool = BlockingPool(name: "benchmark", width: width)
        let outcomes = Outcomes(endpoints: endpoints.count)
        var processor = 0.0
        let elapsed = await seconds {
            let start = processorSecondsNow()
            await withTaskGroup(of: Void.self) { group in
                for job in 0..<endpoints.count * rounds {
                    // Twice the width, so that a thread that is done finds work at once.
                    if job >= 2 * width { await group.next() }
                    let probe = probe(endpoints[job / rounds], round: job % rounds)
                    group.addTask {
                        do {
                            let result = try await pool.run { try probe.run() }
                            await outcomes.count(job / rounds, result.leaf.fingerprint)
                        } catch {
                            await outcomes.fail("\(error)")
                        }
                    }
                }
            }
            processor = processorSecondsNow() - start
        }
        let (failures, first) = await (outcomes.failures, outcomes.firstFailure)
        try report(
            Figures(
                count: endpoints.count * rounds, failures: failures, firstFailure: first, seconds: elapsed,
                processorSeconds: processor))
    }

    private actor Outcomes {
        private(set) var failures = 0
        private(set) var firstFailure = ""
        private var seen: [Fingerprint?]

        init(endpoints: Int) { seen = Array(repeating: nil, count: endpoints) }

        func count(_ endpoint: Int, _ fingerprint: Fingerprint) {
            if let known = seen[endpoint], known != fingerprint { return fail("two certificates at one endpoint") }
            seen[endpoint] = fingerprint
        }

        func fail(_ what: String) {
            failures += 1
            if firstFailure.isEmpty { firstFailure = what }
        }
    }

    private static func probe(_ endpoint: Endpoint, round: Int) -> TLSProbe {
        TLSProbe(
            host: endpoint.host, port: endpoint.port, serverName: endpoint.serverName,
            versions: round & 1 == 0 ? .only12 : .only13, signatureAlgorithms: round & 2 == 0 ? .any : .onlyECDSA)
    }

    private static func read(_ list: String) throws -> [Endpoint] {
        try String(contentsOfFile: list, encoding: .utf8).split(separator: "\n").map { line in
            let words = line.split(separator: " ")
            guard words.count == 3, let port = Int(words[1]) else {
                throw CertsError(.usage, "'\(line)' is no endpoint", hint: "write ADDRESS PORT SERVERNAME")
            }
            return Endpoint(host: String(words[0]), port: port, serverName: String(words[2]))
        }
    }
}
