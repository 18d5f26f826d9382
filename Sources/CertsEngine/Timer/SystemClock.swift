package import CertsCore
import Foundation

/// The clocks of the machine.
package enum SystemClock {
    private static let bootID: String =
        (try? String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8))?
        .trimmingCharacters(in: .whitespacesAndNewlines) ?? "unknown"

    package static func reading() -> ClockReading {
        var time = timespec()
        clock_gettime(CLOCK_BOOTTIME, &time)
        return ClockReading(
            wall: Date(), sinceBoot: Double(time.tv_sec) + Double(time.tv_nsec) / 1e9, bootID: bootID)
    }
}
