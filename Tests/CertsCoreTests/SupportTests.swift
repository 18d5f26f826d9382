import CertsCore
import Foundation
import Testing

@Suite struct SupportTests {
    static let now = Date(timeIntervalSince1970: 1_800_000_000)

    @Test(arguments: [(0, 0.0), (1, 60), (2, 600), (3, 6000), (4, 86400), (50, 86400)])
    func restsLongerAfterEachFailure(_ failures: Int, _ seconds: TimeInterval) {
        #expect(Backoff.delay(afterFailures: failures) == seconds)
    }

    @Test func theWishOfTheIssuerCountsUpToADay() {
        func delay(_ wish: TimeInterval) -> TimeInterval {
            Backoff.nextAttempt(afterFailures: 1, retry: .after(Self.now.addingTimeInterval(wish)), now: Self.now)
                .timeIntervalSince(Self.now)
        }
        #expect(delay(3600) == 3600)
        #expect(delay(10) == 60)
        #expect(delay(-5) == 60)
        #expect(delay(10 * 365 * 86400) == 86400)
    }

    struct Readings: Sendable {
        var bootPassed: TimeInterval
        var wallPassed: TimeInterval
        var isSameBoot = true
        var step: TimeInterval?
    }

    static let readings = [
        Readings(bootPassed: 3600, wallPassed: 3600, step: nil),
        Readings(bootPassed: 3600, wallPassed: 4000, step: nil),
        Readings(bootPassed: 3600, wallPassed: 3_459_600, step: 3_456_000),
        Readings(bootPassed: 3600, wallPassed: -82_800, step: -86_400),
        Readings(bootPassed: 3600, wallPassed: 3_456_000, isSameBoot: false, step: nil),
        Readings(bootPassed: 3600, wallPassed: -86_400, isSameBoot: false, step: -86_400),
    ]

    @Test(arguments: readings)
    func noticesAClockThatWasSet(_ readings: Readings) {
        let before = ClockReading(wall: Self.now, sinceBoot: 100, bootID: "a")
        let after = ClockReading(
            wall: Self.now.addingTimeInterval(readings.wallPassed), sinceBoot: 100 + readings.bootPassed,
            bootID: readings.isSameBoot ? "a" : "b")
        #expect(after.step(since: before) == readings.step)
    }

    @Test func secretsDoNotShowInAnyDescription() {
        let secret = Secret(copying: Array("PRIVATE".utf8))
        #expect("\(secret)" == "***")
        #expect(String(reflecting: secret) == "***")
        var dumped = ""
        dump(secret, to: &dumped)
        #expect(!dumped.contains("PRIVATE") && !dumped.contains("80"))
        #expect(secret == Secret(copying: Array("PRIVATE".utf8)))
        #expect(secret != Secret(copying: Array("PRIVATF".utf8)))
    }

    @Test func terminalTextCannotMoveTheCursorOrForgeALine() {
        #expect(TerminalText.sanitized("a\u{1b}[2Jb\nc\u{202e}d") == "a\\u{1b}[2Jb\\u{a}c\\u{202e}d")
        #expect(TerminalText.sanitized("müller") == "müller")
    }

    @Test func anErrorIsEqualByItsCodeAndNamesTheNextStep() {
        let error = CertsError(.fileMissing, "a.pem is not there", hint: "make it")
        #expect(error == CertsError(.fileMissing, "other"))
        #expect("\(error)" == "a.pem is not there; make it")
        #expect(CertsError.wrapping(error, stage: .key, subject: "x").stage == .key)
    }

    @Test func everyStepHasItsFaultPoints() throws {
        let names = FaultPoints.allNames
        for step in Rotation.Step.allCases where step != .finished {
            #expect(names.contains("before-\(step.rawValue)") && names.contains("after-\(step.rawValue)"))
        }
        #expect(throws: CertsError(.internal, "")) { try FaultPoints("before-key:fail").reached("before-key") }
        #expect(throws: Never.self) { try FaultPoints("before-key:fail").reached("after-key") }
        let (third, fifth) = (
            NodeID(try Name("edge"), node: try Name("n3")), NodeID(try Name("edge"), node: try Name("n5"))
        )
        let onThird = FaultPoints("after-apply@edge/n3:fail")
        #expect(throws: CertsError(.internal, "")) { try onThird.reached("after-apply", at: third) }
        #expect(throws: Never.self) { try onThird.reached("after-apply", at: fifth) }
        #expect(throws: Never.self) { try onThird.reached("after-apply") }
    }

    @Test(arguments: [("00ff", [0, 255]), ("AB:cd", [0xab, 0xcd]), ("", [])] as [(String, [UInt8])])
    func readsHexadecimal(_ text: String, _ bytes: [UInt8]) {
        #expect(Hex.decode(text) == bytes)
    }

    @Test(arguments: ["0", "0g", "00 ff", "é"])
    func refusesWhatIsNotHexadecimal(_ text: String) {
        #expect(Hex.decode(text) == nil)
    }
}
