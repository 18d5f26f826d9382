import CertsCore
import CertsEngine
import CertsStore
import CertsTesting
import Foundation
import Testing

/// The report of `certs status` (its table and its JSON) and the exposition come from the same inventory: whatever is in
/// it, all counts agree at one instant.
@Suite struct CountsAgreeTests {
    /// An inventory of which nobody knows what is in it, the same for each seed.
    struct Mixture {
        var random: Numbers
        let now: Date

        mutating func chance(_ one: Int) -> Bool { Int.random(in: 0..<one, using: &random) == 0 }
        mutating func date(_ days: ClosedRange<Double>) -> Date {
            now.addingTimeInterval(Double.random(in: days, using: &random) * 86400)
        }

        mutating func record(_ index: Int) -> CertificateRecord {
            var record = CertificateRecord()
            (record.subjectCommonName, record.serial) = ("host \"\(index)\"\\\n", "\(index)")
            record.sha256 = String(repeating: Hex.encode([UInt8(truncatingIfNeeded: index)]), count: 32)
            // Some end at this very second.
            record.notAfter = chance(8) ? now : date(-30...90)
            record.notBefore = record.notAfter.addingTimeInterval(-90 * 86400)
            return record
        }

        mutating func state(_ name: Name, _ index: Int) -> CertificateState {
            var state = CertificateState(name: name)
            if !chance(4) {
                (state.record, state.issuedRevision) = (record(index), 1)
                if !chance(4) { (state.currentRecord, state.revision) = (state.record, chance(6) ? nil : 1) }
                state.dueAt = chance(5) ? nil : chance(8) ? now : date(-5...60)
            }
            if chance(3) { state.consecutiveFailures = Int.random(in: 1...9, using: &random) }
            state.isWaiting = chance(5)
            return state
        }

        mutating func facts(_ index: Int) -> WatchedFacts {
            WatchedFacts(
                record: chance(4) ? nil : record(index), chainNotAfter: chance(2) ? date(-9...9) : nil,
                isChainValid: chance(2), problem: chance(4) ? WatchReason.allCases.randomElement(using: &random) : nil)
        }
    }

    struct Numbers: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state &+= 0x9e37_79b9_7f4a_7c15
            var z = state
            z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
            z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
            return z ^ (z >> 31)
        }
    }

    private func fill(_ world: EngineWorld, _ seed: Int) async throws -> Declarations {
        var mixture = Mixture(random: Numbers(state: UInt64(seed)), now: world.clock.now.wall)
        var declarations = world.declarations
        declarations.certificates = try (0..<Int.random(in: 0...40, using: &mixture.random)).map {
            CertificateDeclaration(
                name: try Name("c\($0)"), names: [.dns("c\($0).example.com")], issuer: world.issuer.name,
                targets: mixture.chance(2) ? [] : world.declarations.targets.map(\.name))
        }
        declarations.watch.directories = [WatchedDirectory(name: try Name("files"), path: "/w")]
        declarations.watch.endpoints = (0..<12).map { WatchedEndpoint(Endpoint(host: "e\($0)", port: 443)) }
        for (index, certificate) in declarations.certificates.enumerated() where !mixture.chance(6) {
            try await world.database.save(mixture.state(certificate.name, index))
        }
        // What is not declared any more counts nowhere.
        try await world.database.save(mixture.state(try Name("gone"), 99))
        let files = try (0..<Int.random(in: 0...40, using: &mixture.random)).map { index in
            ScannedFile(
                path: "/w/\(index)\"\\.pem", source: mixture.chance(3) ? nil : try Name("files"),
                stamp: FileStamp(device: 1, inode: 1, size: 1, modified: 1, changed: 1), facts: mixture.facts(index))
        }
        try await world.database.replaceScannedFiles(
            below: "/w", changed: files, removed: [],
            source: WatchSourceRecord(name: "scan", isUp: true, lookedAt: mixture.now), errors: [:])
        let sightings = (0..<16).compactMap { index in
            mixture.chance(3)
                ? nil
                : EndpointSighting(
                    label: "e\(index):443", address: "e\(index):443", facts: mixture.facts(index),
                    observedAt: mixture.now)
        }
        try await world.database.save(
            sightings, source: WatchSourceRecord(name: "endpoints", isUp: true, lookedAt: mixture.now), errors: [:])
        return declarations
    }

    @Test(arguments: 0..<40)
    func allCountsAgreeWhateverIsInTheInventory(_ seed: Int) async throws {
        let world = try await EngineWorld()
        let engine = world.engine(declarations: try await fill(world, seed))
        let now = world.clock.now.wall
        let entries = try await engine.status(at: now).certificates
        let published = PublishedSnapshot()
        await SnapshotPublisher(context: engine.context, published: published, version: "1").publish()
        let text = String(decoding: published.current.metricsText, as: UTF8.self)
        let samples = text.split(separator: "\n").filter { !$0.hasPrefix("#") }.map { line in
            (name: line.prefix { $0 != "{" && $0 != " " }, labels: line, value: line.split(separator: " ").last ?? "")
        }
        func value(_ labels: String) -> Int? {
            samples.first { $0.labels.hasPrefix(labels + " ") }.flatMap { Int($0.value) }
        }
        for state in CertificateState.Condition.allCases {
            #expect(
                value("certs_certificates{state=\"\(state.rawValue)\"}") == entries.count { $0.state == state },
                "\(state)")
        }
        #expect(
            StatusReport(certificates: entries).counts.allSatisfy { one in
                value("certs_certificates{state=\"\(one.state.rawValue)\"}") == one.count
            })
        let dated = entries.filter { $0.daysLeft != nil }
        let days = samples.filter { $0.name == "ssl_cert_expiry_days" }
        #expect(days.count == dated.count)
        #expect(days.compactMap { Double($0.value) }.sorted() == dated.compactMap(\.daysLeft).sorted())
        #expect(days.count { $0.value.hasPrefix("-") } == dated.count { ($0.daysLeft ?? 0) < 0 })
        let sources = samples.filter { $0.name == "certs_source_certificates" }.compactMap { Int($0.value) }
        #expect(sources.reduce(0, +) == dated.count)
        let failures = samples.filter { $0.name == "certs_renewal_consecutive_failures" }.compactMap { Int($0.value) }
        #expect(failures.sorted() == entries.filter(\.managed).map(\.consecutiveFailures).sorted())
        let due = samples.filter { $0.name == "ssl_cert_renewal_due_timestamp_seconds" }
        #expect(due.count == entries.count { $0.dueAt != nil && $0.daysLeft != nil })
        // The JSON is the same report.
        let encoder = JSONEncoder()
        encoder.dateEncodingStrategy = .iso8601
        let document = try JSONSerialization.jsonObject(with: encoder.encode(StatusReport(certificates: entries)))
        let listed = try #require((document as? [String: Any])?["certificates"] as? [[String: Any]])
        for state in CertificateState.Condition.allCases {
            #expect(
                listed.count { $0["state"] as? String == state.rawValue } == entries.count { $0.state == state })
        }
    }
}
