package import CertsCore
package import Foundation
import Synchronization

/// A wall clock and a boot clock that only move when they are told to.
package final class ManualClock: Sendable {
    private let reading: Mutex<ClockReading>

    package init(_ start: Date = Date(timeIntervalSince1970: 1_800_000_000)) {
        reading = Mutex(ClockReading(wall: start, sinceBoot: 1000, bootID: "boot"))
    }

    package var now: ClockReading { reading.withLock { $0 } }

    /// Time passes, for both clocks.
    package func advance(by seconds: TimeInterval) {
        reading.withLock {
            $0.wall.addTimeInterval(seconds)
            $0.sinceBoot += seconds
        }
    }

    /// Somebody sets the wall clock.
    package func step(by seconds: TimeInterval) {
        reading.withLock { $0.wall.addTimeInterval(seconds) }
    }
}
