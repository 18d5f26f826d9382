import CertsCore
import CertsEngine
import CertsStore
import Foundation
import Logging

/// The plan of a large inventory, and finding what is due in it, on a real database.
enum PlannerBenchmark {
    struct Figures: Encodable {
        let count: Int
        let seconds: [Double]
        /// The largest resident set of the process so far; KiB × 1024.
        let peakBytes: Int
    }

    static let now = Date(timeIntervalSince1970: 1_800_000_000)

    /// Makes a state directory with `count` issued certificates, of which `due` are due.
    static func fill(_ directory: String, count: Int, due: Int) async throws {
        let database = try await open(directory, create: true)
        for index in 0..<count { try await database.save(try state(index, isDue: index < due)) }
    }

    /// `certs plan`, without the configuration's text: the states out of the database, the plan of all.
    static func plan(_ directory: String, count: Int) async throws {
        let database = try await open(directory, create: false)
        let state = try await StateDirectory.open(at: directory, create: false)
        let declarations = Declarations(
            stateDirectory: directory, issuers: [],
            certificates: try (0..<count).map { try declaration($0) })
        let engine = RotationEngine(
            EngineContext(
                declarations: declarations, issuers: [:], targets: [:], revisions: state, journal: database,
                inventory: database, schedule: database, quarantine: state,
                makeBundle: { _, _, _ in throw CertsError(.internal, "not measured") },
                faults: .none, logger: Logger(label: "benchmark"), progress: { _ in }))
        var planned = 0
        let elapsed = try await seconds { planned = try await engine.plan(at: now).count }
        try report(Figures(count: planned, seconds: [elapsed], peakBytes: peakBytes))
    }

    /// How long it takes to find what is due.
    static func due(_ directory: String, rounds: Int) async throws {
        let database = try await open(directory, create: false)
        var found = try await database.due(by: now).count
        var measured: [Double] = []
        for _ in 0..<rounds { measured.append(try await seconds { found = try await database.due(by: now).count }) }
        try report(Figures(count: found, seconds: measured, peakBytes: peakBytes))
    }

    private static func open(_ directory: String, create: Bool) async throws -> Database {
        try await Database.open(in: try await StateDirectory.open(at: directory, create: create))
    }

    private static var peakBytes: Int {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return usage.ru_maxrss * 1024
    }

    static func declaration(_ index: Int) throws -> CertificateDeclaration {
        CertificateDeclaration(
            name: try Name("certificate-\(index)"), subject: Subject(commonName: host(index)),
            names: [.dns(host(index))],
            issuer: try Name("local"))
    }

    private static func host(_ index: Int) -> String { "host-\(index).benchmark.example.com" }

    static func state(_ index: Int, isDue: Bool) throws -> CertificateState {
        let declaration = try declaration(index)
        var record = CertificateRecord()
        record.subject = "CN=\(host(index))"
        record.subjectCommonName = host(index)
        record.issuer = "CN=SilentRelay Local CA Issuing 12345678"
        record.issuerCommonName = "SilentRelay Local CA Issuing 12345678"
        record.serial = String(format: "%032x", index + 1)
        record.dnsNames = [host(index)]
        record.notBefore = now.addingTimeInterval(-86400 * (isDue ? 80 : 1) - Double(index % 86400))
        record.notAfter = record.notBefore.addingTimeInterval(90 * 86400)
        (record.keyAlgorithm, record.keyBits, record.signatureAlgorithm) = ("ecdsa-p256", 256, "ecdsa-with-SHA256")
        (record.keyUsage, record.extendedKeyUsage, record.hasBasicConstraints) = (
            ["digitalSignature"], ["serverAuth"], true
        )
        (record.subjectKeyID, record.authorityKeyID) = (
            String(format: "%040x", index), String(repeating: "ab", count: 20)
        )
        (record.sha1, record.sha256) = (String(format: "%040x", index), String(format: "%064x", index))
        record.spkiSHA256 = String(format: "%043x=", index)
        var state = CertificateState(name: declaration.name)
        (state.revision, state.issuedRevision) = (1, 1)
        (state.record, state.currentRecord) = (record, record)
        state.requested = declaration.requested
        let due = declaration.renewal.due(notBefore: record.notBefore, notAfter: record.notAfter)
        (state.dueAt, state.dueReason) = (due.at, due.reason)
        state.lastSuccessAt = record.notBefore
        return state
    }
}
