package import CertsCore
import Foundation

/// The `process_*` families that Prometheus' client libraries export, and `certs_build_info`.
package enum ProcessMetrics {
    /// Reads `/proc/self` (proc(5)), so it belongs where the snapshot is rendered, not into a scrape. A value that cannot
    /// be read is left out: absent is unknown, and never 0.
    package static func families(version: String) -> [MetricFamily] {
        let readings = read()
        var families = [
            MetricFamily(
                "certs_build_info", .info, help: "The running program; always 1.",
                samples: [.init(1, ["version": version, "swift": swiftVersion])])
        ]
        func add(_ name: String, _ kind: MetricFamily.Kind, _ help: String, _ value: Double?) {
            guard let value else { return }
            families.append(MetricFamily(name, kind, help: help, samples: [.init(value)]))
        }
        add("process_cpu_seconds_total", .counter, "User and system CPU time in seconds.", readings.cpuSeconds)
        add("process_resident_memory_bytes", .gauge, "Resident memory in bytes.", readings.residentBytes)
        add("process_virtual_memory_bytes", .gauge, "Virtual memory in bytes.", readings.virtualBytes)
        add("process_open_fds", .gauge, "Open file descriptors.", readings.openDescriptors)
        add("process_max_fds", .gauge, "The limit of open file descriptors.", readings.maximumDescriptors)
        add("process_start_time_seconds", .gauge, "Start of the process as a Unix time in seconds.", readings.startedAt)
        return families
    }

    struct Readings: Equatable {
        var cpuSeconds: Double?
        var residentBytes: Double?
        var virtualBytes: Double?
        var openDescriptors: Double?
        var maximumDescriptors: Double?
        var startedAt: Double?
    }

    private static func read() -> Readings {
        var readings = Readings()
        let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
        if let text = try? String(contentsOfFile: "/proc/self/stat", encoding: .utf8), ticks > 0 {
            // `now` minus the uptime would change with each reading; the kernel's boot time does not.
            let boot = (try? String(contentsOfFile: "/proc/stat", encoding: .utf8))?.split(separator: "\n")
                .first { $0.hasPrefix("btime ") }.flatMap { Double($0.dropFirst(6)) }
            readings = parse(
                stat: text, ticksPerSecond: ticks, pageSize: Double(sysconf(Int32(_SC_PAGESIZE))), bootedAt: boot)
        }
        if let names = try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") {
            // One of them is the directory that was just read.
            readings.openDescriptors = Double(max(0, names.count - 1))
        }
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
            readings.maximumDescriptors = Double(limit.rlim_cur)
        }
        return readings
    }

    /// The fields of `/proc/PID/stat`; the name of the program, field 2, may itself hold blanks and parentheses.
    static func parse(stat text: String, ticksPerSecond: Double, pageSize: Double, bootedAt: Double?) -> Readings {
        guard let end = text.lastIndex(of: ")") else { return Readings() }
        // The first of them is field 3.
        let fields = text[text.index(after: end)...].split(whereSeparator: \.isWhitespace)
        func field(_ number: Int) -> Double? { fields.indices.contains(number - 3) ? Double(fields[number - 3]) : nil }
        var readings = Readings()
        if let user = field(14), let system = field(15) { readings.cpuSeconds = (user + system) / ticksPerSecond }
        readings.virtualBytes = field(23)
        readings.residentBytes = field(24).map { $0 * pageSize }
        if let start = field(22), let bootedAt { readings.startedAt = bootedAt + start / ticksPerSecond }
        return readings
    }

    private static var swiftVersion: String {
        #if compiler(>=6.3)
            "6.3"
        #elseif compiler(>=6.2)
            "6.2"
        #else
            "6.1"
        #endif
    }
}
