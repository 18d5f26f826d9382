import CertsCore
import CertsEngine
import Foundation
import Testing

@testable import certs

@Suite struct OutputTests {
    struct Item: Encodable {
        let name: String
        let days: Double
        @OrNull var due: Date?
    }

    static let items = [
        Item(name: "a", days: 1.5, due: Date(timeIntervalSince1970: 0)), Item(name: "long-name", days: 100, due: nil),
    ]
    static let columns: [Column<Item>] = [
        Column("name") { $0.name }, Column("days", isNumber: true) { String($0.days) },
        Column("due") { Time.text($0.due) },
    ]

    @Test func tablesAlignTextLeftAndNumbersRight() {
        #expect(
            Table.render(Self.items, Self.columns) == """
                NAME        DAYS  DUE
                a            1.5  1970-01-01T00:00:00Z
                long-name  100.0  -
                """)
    }

    @Test func unknownIsNullInJSONAndTimesAreUTC() throws {
        #expect(
            try JSON.encode(Self.items[0], pretty: false) == #"{"days":1.5,"due":"1970-01-01T00:00:00Z","name":"a"}"#)
        #expect(try JSON.encode(Self.items[1], pretty: false) == #"{"days":100,"due":null,"name":"long-name"}"#)
    }

    @Test(arguments: [
        ("plain", "plain"), ("a,b", "\"a,b\""), ("say \"x\"", "\"say \"\"x\"\"\""), ("=1+1", "'=1+1"), ("-1.5", "-1.5"),
        ("-", "-"),
        ("@cmd", "'@cmd"), ("two\nlines", "\"two\nlines\""),
    ])
    func cellsOfCSVAreQuotedAndNeverFormulas(_ cell: String, _ expected: String) {
        #expect(CSV.escaped(cell) == expected)
    }

    /// `certs rotate | head -1`, `>&-`, a full disk behind stdout: Foundation's FileHandle would end the program.
    @Test func aReaderThatIsGoneDoesNotEndTheProgram() throws {
        signal(SIGPIPE, SIG_IGN)
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        close(ends[0])
        Terminal.write(Array("lost".utf8), to: ends[1])
        #expect(errno == EPIPE)
        close(ends[1])
        Terminal.write(Array("lost".utf8), to: -1)
        let full = open("/dev/full", O_WRONLY)
        Terminal.write(Array("lost".utf8), to: full)
        #expect(errno == ENOSPC)
        close(full)
    }

    @Test func namesOfFilesCannotForgeALineInAnyFormat() {
        let hostile = [Item(name: "a\nb\u{1b}[2J", days: 0, due: nil)]
        #expect(!CSV.render(hostile, Self.columns).contains("\u{1b}"))
        #expect(CSV.render(hostile, Self.columns).split(separator: "\n").count == 2)
    }

    @Test func aTableCannotBeForgedFromOutside() {
        let hostile = [Item(name: "a\nroot  valid\u{1b}[2J", days: 0, due: nil)]
        let lines = Table.render(hostile, Self.columns).split(separator: "\n")
        #expect(lines.count == 2)
        #expect(!lines[1].contains("\u{1b}"))
    }

    @Test(
        arguments: [
            ("2029-06-01", 1_874_966_400.0), ("2029-06-01T12:00:00Z", 1_875_009_600),
            ("2029-06-01T12:00:00+02:00", 1_875_002_400),
            ("@1874966400", 1_874_966_400), ("2029-06-01T12:00:00.5Z", 1_875_009_600.5),
        ] as [(String, TimeInterval)])
    func readsTimes(_ text: String, _ seconds: TimeInterval) throws {
        #expect(try Time.parse(text).timeIntervalSince1970 == seconds)
    }

    @Test(arguments: ["", "tomorrow", "2029-13-01", "2029-06-31x", "@", "@nan", "@1e99", "29-06-01"])
    func refusesWhatIsNoTime(_ text: String) {
        #expect(throws: CertsError(.usage, "")) { try Time.parse(text) }
    }

    @Test(
        arguments: [
            (TimeInterval(0), "1970-01-01T00:00:00Z"), (-1, "1969-12-31T23:59:59Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (1e18, "9999-12-31T23:59:59Z"), (-1e18, "0001-01-01T00:00:00Z"), (-62_135_510_400, "0001-01-02T00:00:00Z"),
        ] as [(TimeInterval, String)])
    func writesEveryTimeThatACertificateCanHave(_ seconds: TimeInterval, _ expected: String) {
        #expect(Time.text(Date(timeIntervalSince1970: seconds)) == expected)
    }
}

/// Swift Testing has an `ExitStatus` of its own.
private typealias ExitStatus = certs.ExitStatus

@Suite struct ExitStatusTests {
    static func rotation(_ failure: CertsError?, at step: Rotation.Step = .verify) throws -> RotationEngine.Result {
        let now = Date(timeIntervalSince1970: 0)
        var rotation = Rotation(
            id: "r", certificate: try Name("a"), revision: 1, purpose: .issue, reason: .requested,
            deployments: [Deployment(node: NodeID(try Name("t")))], startedAt: now)
        while !rotation.isFinished {
            if rotation.step == step, let failure, rotation.failure == nil {
                rotation.fail(failure, at: now)
            } else if case .prepare = rotation.action {
                let receipt = DeploymentReceipt(
                    method: "runtime", reloads: false, files: [], baseline: [], takenAt: now)
                rotation.complete(.prepared(receipt, findings: []), at: now)
            } else {
                rotation.complete(at: now)
            }
        }
        return .rotated(rotation)
    }

    @Test func saysHowARotationEnded() throws {
        #expect(ExitStatus(try Self.rotation(nil)) == .done)
        #expect(ExitStatus(try Self.rotation(CertsError(.servedOther, "x"))) == .rolledBack)
        #expect(ExitStatus(try Self.rotation(CertsError(.issuerUnavailable, "x"), at: .issue)) == .failed)
        #expect(ExitStatus(try Self.rotation(CertsError(.targetForeignTransaction, "x"), at: .prepare)) == .refused)
    }

    @Test(arguments: [
        (CertsError.Code.nameUnknown, Int32(4)), (.certificateMissing, 4), (.lockHeld, 5), (.clockStepped, 5),
        (.stateInsecure, 5), (.configurationInvalid, 1), (.internal, 1),
    ])
    func mapsEachKindOfFailure(_ code: CertsError.Code, _ expected: Int32) {
        #expect(ExitStatus(CertsError(code, "x")).rawValue == expected)
    }

    @Test func severalCertificatesHaveOneCode() throws {
        let good = try Self.rotation(nil)
        let rolledBack = try Self.rotation(CertsError(.servedOther, "x"))
        let failed = try Self.rotation(CertsError(.issuerRefused, "x"), at: .issue)
        #expect(ExitStatus([RotationEngine.Result]()) == .done)
        #expect(ExitStatus([good, good]) == .done)
        #expect(ExitStatus([good, failed]) == .partly)
        #expect(ExitStatus([rolledBack, rolledBack]) == .rolledBack)
        #expect(ExitStatus([rolledBack, failed]) == .failed)
    }
}
