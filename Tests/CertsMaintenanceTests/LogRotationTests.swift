import CertsCore
import CertsStore
import CertsTesting
import Foundation
import Testing

@testable import CertsMaintenance

/// The real logrotate.
@Suite(.timeLimit(.minutes(5))) struct LogRotationTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory(prefix: "certs-rotate") }

    private func configuration(_ rule: String, mode: mode_t = 0o600) throws -> HostJob {
        let path = try directory.write("\(directory.path)/app.log {\n\(rule)\nrotate 3\ncreate 0600\n}\n", to: "rules")
        chmod(path, mode)
        return .rotateLogs(LogRotation(configuration: path))
    }

    private func has(_ name: String) -> Bool { FileManager.default.fileExists(atPath: directory.path(name)) }

    @Test func aDueLogIsRotatedAndThePlanSaidSo() async throws {
        let shop = try await HostShop.make()
        let work = try configuration("size 10")
        try directory.writeSecret("more than ten bytes\n", to: "app.log")
        #expect(try await shop.plan(work).map(\.keys) == [[directory.path("app.log")]])
        #expect(!has("app.log.1"))
        let run = try await shop.run(work)
        #expect(run.result == .succeeded && run.rows == 1, "\(run.reason ?? "")")
        #expect(has("app.log.1") && has("app.log"))
        // Its state is ours, and what it said is kept.
        let said = try String(contentsOfFile: "\(shop.state.path)/jobs/job/logrotate.log", encoding: .utf8)
        #expect(said.contains("considering log"))
        #expect(FileManager.default.fileExists(atPath: "\(shop.state.path)/jobs/job/logrotate.state"))
    }

    @Test func aConfigurationThatLogrotatePassesOverIsAFailure() async throws {
        let shop = try await HostShop.make()
        let work = try configuration("size 1", mode: 0o666)
        try directory.writeSecret("line\n", to: "app.log")
        let run = try await shop.run(work)
        #expect(run.result == .failed)
        #expect(run.reason?.contains("writable by group or others") == true, "\(run.reason ?? "")")
    }

    @Test func whatLogrotateDoesNotUnderstandIsTold() async throws {
        let shop = try await HostShop.make()
        let run = try await shop.run(try configuration("postrotate\nno end"))
        #expect(run.result == .failed)
        #expect(run.reason?.contains("logrotate on") == true, "\(run.reason ?? "")")
        let none = try await shop.run(.rotateLogs(LogRotation(configuration: directory.path("none"))))
        #expect(none.result == .refused)
    }
}
