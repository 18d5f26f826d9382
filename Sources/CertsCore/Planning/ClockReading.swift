package import Foundation

/// The wall clock together with a clock that nobody can set, so that a step of the wall clock shows.
package struct ClockReading: Sendable, Hashable, Codable {
    package var wall: Date
    /// Seconds since boot, sleep included (`CLOCK_BOOTTIME`).
    package var sinceBoot: TimeInterval
    /// Changes at each boot (`/proc/sys/kernel/random/boot_id`).
    package var bootID: String

    package init(wall: Date, sinceBoot: TimeInterval, bootID: String) {
        self.wall = wall
        self.sinceBoot = sinceBoot
        self.bootID = bootID
    }

    /// How far the wall clock was stepped between two readings, in seconds; `nil` when it cannot be told or is not
    /// worth mentioning.
    ///
    /// Within one boot the two clocks must agree to `tolerance`; across boots only a step back shows.
    package func step(since previous: ClockReading, tolerance: TimeInterval = 600) -> TimeInterval? {
        let wallPassed = wall.timeIntervalSince(previous.wall)
        let step = bootID == previous.bootID ? wallPassed - (sinceBoot - previous.sinceBoot) : min(0, wallPassed)
        return abs(step) > tolerance ? step : nil
    }
}
