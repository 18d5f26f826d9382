import CertsCore
import CertsStore
import CertsTesting
import Foundation
import Testing

@testable import CertsMaintenance

@Suite(.timeLimit(.minutes(5))) struct FileRollbackTests {
    private let directory: TemporaryDirectory
    private var path: String { directory.path("haproxy.cfg") }

    init() throws { directory = try TemporaryDirectory(prefix: "certs-versions") }

    private func contents() -> String {
        String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
    }

    private func rollback(_ work: FileVersioning, _ shop: HostShop) -> FileRollback {
        FileRollback(work, files: shop.state, live: shop.state.liveFiles, now: { Date() })
    }

    private func control() -> JobControl { JobControl(deadline: .now + .seconds(60), now: { Date() }) }

    @Test func versionsAreKeptOnceEachAndForTheOwnerAlone() async throws {
        let shop = try await HostShop.make()
        let work = FileVersioning(files: [.init(path: path)], kept: 3)
        for text in ["one", "one", "two", "three", "two", "four"] {
            try directory.writeSecret(text, to: "haproxy.cfg")
            #expect(try await shop.run(.keepVersions(work)).result == .succeeded)
        }
        let versions = try #require(try await FileVersions(files: shop.state).index()[path])
        #expect(versions.map(\.number) == [3, 4, 5])
        let folder = shop.state.path + "/maintenance/versions"
        let names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
        // Three contents (two of them once), and the index; "one" is forgotten.
        #expect(names.count == 4, "\(names)")
        for name in names {
            var status = stat()
            #expect(stat("\(folder)/\(name)", &status) == 0 && status.st_mode & 0o777 == 0o600)
        }
        #expect(try await shop.plan(.keepVersions(work)).map(\.count) == [0])
    }

    @Test func anEarlierVersionIsPutBackCheckedAndReadAndNothingIsLost() async throws {
        let shop = try await HostShop.make()
        let log = directory.path("log")
        let file = FileVersioning.File(
            path: path, validate: ["/bin/grep", "-q", "good", path], reload: ["/bin/cp", path, log])
        let work = FileVersioning(files: [file])
        try directory.writeSecret("good 1", to: "haproxy.cfg")
        _ = try await shop.run(.keepVersions(work))
        try directory.write("good 2", to: "haproxy.cfg")
        chmod(path, 0o640)
        _ = try await shop.run(.keepVersions(work))
        // Not recorded yet: the last that was is what is put back, and this one is kept on the way.
        try directory.write("broken", to: "haproxy.cfg")
        let plan = try await rollback(work, shop).plan(path, to: nil)
        #expect(plan.target.number == 2 && plan.current == nil)
        #expect(contents() == "broken")
        let words = try await rollback(work, shop).run(plan, control: control())
        #expect(words.contains("is version 2 again"))
        #expect(contents() == "good 2")
        #expect(try String(contentsOfFile: log, encoding: .utf8) == "good 2")
        let known = try #require(try await FileVersions(files: shop.state).index()[path])
        #expect(known.count == 4)
        _ = try await rollback(work, shop).run(try await rollback(work, shop).plan(path, to: 1), control: control())
        #expect(contents() == "good 1")
        var status = stat()
        #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o600)
    }

    @Test(arguments: [true, false]) func whatDoesNotPassIsTakenBack(check: Bool) async throws {
        let shop = try await HostShop.make()
        let fails = ["/bin/sh", "-c", "echo no such backend >&2; exit 2"]
        var file = FileVersioning.File(path: path)
        var work = FileVersioning(files: [file])
        try directory.writeSecret("old", to: "haproxy.cfg")
        _ = try await shop.run(.keepVersions(work))
        try directory.write("new", to: "haproxy.cfg")
        chmod(path, 0o644)
        if check { file.validate = fails } else { file.reload = fails }
        work.files = [file]
        do {
            let plan = try await rollback(work, shop).plan(path, to: 1)
            _ = try await rollback(work, shop).run(plan, control: control())
            Issue.record("it should fail")
        } catch let error as CertsError {
            #expect(error.code == .jobFailed)
            #expect(error.message.contains("no such backend"), "\(error)")
            #expect(check == error.message.contains("is what it was before"), "\(error)")
        }
        #expect(contents() == "new")
        var status = stat()
        #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o644)
    }

    @Test func aDamagedCopyIsNotPutBack() async throws {
        let shop = try await HostShop.make()
        let work = FileVersioning(files: [.init(path: path)])
        try directory.writeSecret("old", to: "haproxy.cfg")
        _ = try await shop.run(.keepVersions(work))
        let version = try #require(try await FileVersions(files: shop.state).index()[path]?.first)
        try Data("bad".utf8).write(to: URL(filePath: "\(shop.state.path)/maintenance/versions/\(version.digest)"))
        try directory.write("new", to: "haproxy.cfg")
        let plan = try await rollback(work, shop).plan(path, to: 1)
        await #expect(throws: CertsError(.stateCorrupt, "")) {
            _ = try await rollback(work, shop).run(plan, control: control())
        }
        #expect(contents() == "new")
    }

    @Test func aFileThatIsNotThereMakesTheRunIncomplete() async throws {
        let shop = try await HostShop.make()
        try directory.writeSecret("old", to: "haproxy.cfg")
        let work = FileVersioning(files: [.init(path: directory.path("none")), .init(path: path)])
        let run = try await shop.run(.keepVersions(work))
        #expect(run.result == .incomplete && run.rows == 1)
        #expect(run.reason?.contains("no file") == true)
    }

    @Test func aRollbackIsALineInTheLedger() async throws {
        let shop = try await HostShop.make()
        let job = try HostShop.job(.keepVersions(FileVersioning(files: [])))
        let words = try await shop.runner().record(job) { _ in "did it" }
        #expect(words == "did it")
        await #expect(throws: CertsError(.jobRefused, "")) {
            _ = try await shop.runner().record(job) { _ in throw CertsError(.jobRefused, "no", hint: "yes") }
        }
        let runs = try await shop.database.runs(of: job.name, limit: 5)
        #expect(runs.map(\.result) == [.refused, .succeeded])
        #expect(runs.last?.reason == "did it")
    }
}
