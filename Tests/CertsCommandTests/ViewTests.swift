import CertsCore
import CertsEngine
import Foundation
import Testing

@testable import certs

@Suite struct ViewTests {
    @Test func noLineIsWiderThanTheTerminal() throws {
        for width in 20...200 {
            for text in try [
                ViewFixture.status(width: width), ViewFixture.timeline(width: width),
                ViewFixture.timeline(width: width, weeks: 520),
            ] {
                let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
                #expect(lines.count >= 9)
                // The legend is told whole.
                let wide = lines.filter { TextWidth.of(String($0)) > max(width, $0.hasPrefix("R due,") ? 42 : 0) }
                #expect(wide.isEmpty, "\(width): \(wide)")
            }
        }
    }

    @Test func whatNeedsAttentionComesFirst() throws {
        #expect(
            try ViewFixture.report().certificates.map(\.name) == [
                "old-intranet.office.example.com", "login", "api", "new-project", "shop.example.com", "partner", "edge",
                "messenger",
            ])
    }

    @Test func colourAddsNothingButColour() throws {
        for width in [40, 80, 132] {
            let (status, timeline) = (
                try ViewFixture.status(width: width, usesColor: true),
                try ViewFixture.timeline(width: width, usesColor: true)
            )
            #expect(status.contains("\u{1b}[31mexpired\u{1b}[0m"))
            let escape = try Regex("\u{1b}\\[[0-9]+m")
            #expect(status.replacing(escape, with: "") == (try ViewFixture.status(width: width)))
            #expect(timeline.replacing(escape, with: "") == (try ViewFixture.timeline(width: width)))
        }
    }

    @Test(arguments: [
        (-3.0, "...."), (0, "...."), (0.01, "#..."), (45, "##.."), (45.1, "###."), (90, "####"), (99, "####"),
    ])
    func theBarIsEmptyOnlyWhenNothingIsLeft(_ left: Double, _ expected: String) throws {
        let entry = try ViewFixture.entry("a", .valid, left: left)
        #expect(StatusView.bar(entry, width: 4, TerminalStyle(width: nil, isUTF8: false)) == expected)
    }

    @Test func theBarOfNothingIsNone() throws {
        let style = TerminalStyle(width: nil)
        #expect(StatusView.bar(try ViewFixture.entry("a", .missing, left: nil), width: 4, style) == "-")
        #expect(StatusView.bar(try ViewFixture.entry("a", .valid, left: 1, of: 0), width: 4, style) == "░░░░")
    }

    @Test func theStyleFollowsTheEnvironment() {
        func style(_ environment: [String: String], isTerminal: Bool = true) -> TerminalStyle {
            TerminalStyle.decide(environment, isTerminal: isTerminal, terminalWidth: isTerminal ? 100 : nil)
        }
        #expect(style([:]).width == 100)
        #expect(style(["COLUMNS": "60"]).width == 60)
        #expect(style(["COLUMNS": "-1"]).width == 100)
        #expect(style([:], isTerminal: false).width == nil)
        #expect(TerminalStyle.decide([:], isTerminal: true, terminalWidth: nil).width == 80)
        #expect(style([:]).usesColor)
        #expect(!style(["NO_COLOR": "1"]).usesColor)
        #expect(style(["NO_COLOR": ""]).usesColor)
        #expect(!style(["TERM": "dumb"]).usesColor)
        #expect(!style([:], isTerminal: false).usesColor)
        #expect(style(["CLICOLOR_FORCE": "1"], isTerminal: false).usesColor)
        #expect(!style(["CLICOLOR_FORCE": "1", "NO_COLOR": "1"], isTerminal: false).usesColor)
        #expect(!style([:]).isUTF8)
        #expect(style(["LANG": "de_DE.UTF-8"]).isUTF8)
        #expect(style(["LANG": "C.utf8"]).isUTF8)
        #expect(!style(["LC_ALL": "C", "LANG": "de_DE.UTF-8"]).isUTF8)
        #expect(style(["LC_ALL": "", "LC_CTYPE": "C.UTF-8", "LANG": "C"]).isUTF8)
    }

    @Test func wideCharactersAreCountedAndCutAsTheyAreDrawn() {
        #expect(TextWidth.of("abc") == 3)
        #expect(TextWidth.of("日本") == 4)
        #expect(TextWidth.of("e\u{301}") == 1)
        #expect(TextWidth.cut("日本語", to: 4, mark: "…") == "日…")
        #expect(TextWidth.cut("abc", to: 3, mark: "…") == "abc")
        #expect(TextWidth.cut("abc", to: 0, mark: "…") == "")
        #expect(TextWidth.cutInside("/etc/ssl/server.pem", to: 9, mark: "…") == "/etc….pem")
    }

    static let distances: [(seconds: Double, text: String)] = [
        (30, "now"), (-59, "now"), (120, "in 2 min"), (10_800, "in 3 h"), (-259_200, "3 d ago"), (86_400, "in 24 h"),
        (34_560_000, "in 400 d"),
    ]

    @Test(arguments: distances) func distancesAreToldInOneUnit(_ seconds: Double, _ expected: String) {
        #expect(Time.distance(to: ViewFixture.now.addingTimeInterval(seconds), from: ViewFixture.now) == expected)
    }

    @Test func whatIsPastIsInTheFirstWeekAndWhatIsLaterInNone() throws {
        let report = TimelineReport(try ViewFixture.report(), weeks: 8, at: ViewFixture.now)
        let rows = Dictionary(uniqueKeysWithValues: report.certificates.map { ($0.certificate, $0) })
        let old = try #require(rows["old-intranet.office.example.com"])
        #expect((old.renewalWeek, old.expiryWeek) == (0, 0))
        let messenger = try #require(rows["messenger"])
        #expect((messenger.renewalWeek, messenger.expiryWeek) == (5, nil), "due in 41.4 days, expires in 71.4")
        let new = try #require(rows["new-project"])
        #expect((new.renewalWeek, new.notAfter) == (0, nil))
        #expect(report.certificates.first?.certificate == "old-intranet.office.example.com")
    }

    @Test func aTimelineShowsTheWeeksOfEachEvent() throws {
        let report = StatusReport(certificates: [try ViewFixture.entry("a", .valid, left: 50, of: 90)])
        let style = TerminalStyle(width: 40, isUTF8: false)
        let view = TimelineView(report: TimelineReport(report, weeks: 10, at: ViewFixture.now), style: style)
        let lines = view.render().split(separator: "\n")
        // Due 30 days before: day 20, in the third week; the expiry is in the eighth.
        #expect(lines[1].hasPrefix("a            ..R----X  "))
    }
}

@Suite struct LiveLinesTests {
    @Test func aRotationThatHasEndedStaysWithTheTimeOfEachStage() throws {
        var (lines, now) = (LiveLines(total: 1), Duration.zero)
        var rotation = try LiveFixture.rotation("messenger")
        let staying = LiveFixture.advance(&rotation, to: .finished, in: &lines, at: &now)
        let stages = "issue 0.312s, prepare 0.041s, apply 0.018s, verify 0.087s"
        #expect(staying.count == 1)
        #expect(staying.first?.hasPrefix("   0.477s  messenger #4  ") == true)
        #expect(staying.first?.hasSuffix("(\(stages))") == true)
        #expect(lines.frame(at: now, width: 80, height: 24, mark: "…") == ["1 of 1 ended, 0.477s"])
        #expect((lines.ended, lines.failed) == (1, 0))
    }

    @Test func theStagesAreOnALineOfTheirOwnWhereTheyDoNotFit() throws {
        var (lines, now) = (LiveLines(total: 1), Duration.zero)
        var rotation = try LiveFixture.rotation("messenger")
        let staying = LiveFixture.advance(&rotation, to: .finished, in: &lines, at: &now, width: 80)
        #expect(staying.last == "           issue 0.312s, prepare 0.041s, apply 0.018s, verify 0.087s")
    }

    @Test func aFailureIsCounted() throws {
        var (lines, now) = (LiveLines(total: 2), Duration.zero)
        var rotation = try LiveFixture.rotation("messenger")
        _ = LiveFixture.advance(&rotation, to: .issue, in: &lines, at: &now)
        rotation.fail(CertsError(.issuerUnavailable, "no"), at: LiveFixture.start)
        _ = LiveFixture.advance(&rotation, to: .finished, in: &lines, at: &now)
        #expect(
            lines.frame(at: now, width: 80, height: 24, mark: "…").first?.hasPrefix("1 of 2 ended, 1 not, ") == true)
    }

    @Test(arguments: [4, 10, 24]) func theFrameFitsTheScreen(_ height: Int) throws {
        var (lines, now) = (LiveLines(total: 100), Duration.zero)
        for number in 0..<100 {
            var rotation = try LiveFixture.rotation("a-certificate-with-a-long-name-\(number)")
            _ = LiveFixture.advance(&rotation, to: .verify, in: &lines, at: &now)
        }
        for width in [20, 40, 80] {
            let frame = lines.frame(at: now, width: width, height: height, mark: "…")
            #expect(frame.count == height)
            #expect(frame.allSatisfy { TextWidth.of($0) <= width })
            #expect(frame.last == "and \(100 - height + 2) more")
        }
    }
}
