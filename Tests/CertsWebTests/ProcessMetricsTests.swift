import CertsCore
import CertsEngine
import Foundation
import Testing

@Suite("The metrics of the process")
struct ProcessMetricsTests {
    private func value(_ name: String) -> Double? {
        ProcessMetrics.families(version: "1.2.3").first { $0.name == name }?.samples.first?.value
    }

    @Test("tell the program and its version")
    func buildInfo() throws {
        let family = try #require(ProcessMetrics.families(version: "1.2.3").first { $0.name == "certs_build_info" })
        let sample = try #require(family.samples.first)
        #expect(sample.value == 1)
        #expect(sample.labels.contains { $0.name == "version" && $0.value == "1.2.3" })
    }

    @Test("are all there, each once, under the names that Prometheus' own libraries use")
    func names() {
        #expect(
            ProcessMetrics.families(version: "1").map(\.name) == [
                "certs_build_info", "process_cpu_seconds_total", "process_resident_memory_bytes",
                "process_virtual_memory_bytes",
                "process_open_fds", "process_max_fds", "process_start_time_seconds",
            ])
    }

    @Test("agree with what is known about this process")
    func plausible() throws {
        let started = try #require(value("process_start_time_seconds"))
        let now = Date().timeIntervalSince1970
        #expect(started < now + 1)
        #expect(started > now - 86400)
        #expect(try #require(value("process_resident_memory_bytes")) > 1_000_000)
        #expect(try #require(value("process_virtual_memory_bytes")) >= #require(value("process_resident_memory_bytes")))
        #expect(try #require(value("process_open_fds")) >= 1)
        #expect(try #require(value("process_max_fds")) >= #require(value("process_open_fds")))
        #expect(value("process_start_time_seconds") == started)
    }

    @Test("count a file that is opened")
    func openDescriptors() throws {
        let file = try #require(FileHandle(forReadingAtPath: "/dev/null"))
        defer { try? file.close() }
        #expect(try #require(value("process_open_fds")) >= 2)
        #expect(value("process_cpu_seconds_total") != nil)
    }
}
