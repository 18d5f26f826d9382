import CertsCore
import Foundation
import Testing

@Suite struct JobTurnTests {
    private let hourly = JobSchedule(.every(3600))
    private let start = Date(timeIntervalSince1970: 1_767_225_600)

    private func at(_ hours: Double) -> Date { start.addingTimeInterval(hours * 3600) }

    @Test func aNewJobBeginsWithItsNextOccurrence() {
        let turn = JobTurn(hourly, catchUp: .latest(within: 86400), last: nil, now: at(0.5))
        #expect(turn.due.isEmpty)
        #expect(turn.next == at(1))
        #expect(turn.last == at(0.5))
    }

    @Test func anOccurrenceRunsOnceHoweverOftenItIsAskedFor() {
        let first = JobTurn(hourly, catchUp: .none, last: at(0.5), now: at(1))
        #expect(first.due == [at(1)])
        let again = JobTurn(hourly, catchUp: .none, last: first.last, now: at(1.01))
        #expect(again.due.isEmpty)
        #expect(again.next == at(2))
    }

    @Test func whatWasMissedIsMadeUpForAsDeclared() {
        let now = at(5.5)
        let latest = JobTurn(hourly, catchUp: .latest(within: 3600), last: at(1), now: now)
        #expect(latest.due == [at(5)])
        #expect(latest.skipped?.count == 3)
        #expect(latest.skipped?.last == at(4))
        let tooLate = JobTurn(hourly, catchUp: .latest(within: 600), last: at(1), now: now)
        #expect(tooLate.due.isEmpty)
        #expect(tooLate.skipped?.count == 4)
        #expect(tooLate.skipped?.last == at(5))
        let none = JobTurn(hourly, catchUp: .none, last: at(1), now: now)
        #expect(none.due.isEmpty)
        let all = JobTurn(hourly, catchUp: .all(3), last: at(1), now: now)
        #expect(all.due == [at(3), at(4), at(5)])
        #expect(all.skipped?.count == 1)
        #expect(all.skipped?.last == at(2))
        for turn in [latest, tooLate, none, all] {
            #expect(turn.next == at(6))
            #expect(turn.last == at(5))
        }
    }

    @Test func aClockThatIsPutBackDoesNotSilenceAJobThatFollowsTime() {
        let turn = JobTurn(hourly, catchUp: .latest(within: 3600), last: at(10), now: at(8.5))
        #expect(turn.due.isEmpty)
        #expect(turn.next == at(9))
    }

    @Test func aClockThatIsPutBackALittleDoesNotRepeatAFixedTime() {
        let daily = JobSchedule(.daily([120]))
        let ran = at(2)
        let turn = JobTurn(daily, catchUp: .latest(within: 86400), last: ran, now: ran.addingTimeInterval(-7200))
        #expect(turn.next == at(26))
        // By more, it is a clock that was wrong before.
        let far = JobTurn(daily, catchUp: .latest(within: 86400), last: at(2 + 240), now: at(3))
        #expect(far.next == at(26))
    }

    @Test func aDelayPutsTheStartOffAndNotTheOccurrence() {
        let early = JobTurn(hourly, catchUp: .none, last: at(0.5), delay: 30, now: at(1).addingTimeInterval(29))
        #expect(early.due.isEmpty)
        let due = JobTurn(hourly, catchUp: .none, last: at(0.5), delay: 30, now: at(1).addingTimeInterval(30))
        #expect(due.due == [at(1)])
    }

    @Test func yearsOfMissedMinutesAreCountedAndNotWalkedThrough() {
        let minutes = JobSchedule(.every(60))
        let turn = JobTurn(minutes, catchUp: .all(2), last: at(0), now: at(24 * 3650))
        #expect(turn.due.count == 2)
        #expect(turn.skipped?.count == 24 * 3650 * 60 - 2)
    }
}
