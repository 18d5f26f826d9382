import CertsCore
import CertsTesting
import Foundation
import Testing

@testable import CertsMaintenance

/// A directory with logs, old and new.
private struct LogDirectory {
    let directory: TemporaryDirectory
    var root: String { directory.path("app/logs") }

    init() throws {
        directory = try TemporaryDirectory(prefix: "certs-logs")
        try FileManager.default.createDirectory(atPath: directory.path("app/logs"), withIntermediateDirectories: true)
    }

    @discardableResult
    func add(_ name: String, days: Int, _ text: String = "line\n") throws -> String {
        let path = "\(root)/\(name)"
        try FileManager.default.createDirectory(
            atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        try Data(text.utf8).write(to: URL(filePath: path))
        let time = Date().addingTimeInterval(-Double(days) * 86400)
        try FileManager.default.setAttributes([.modificationDate: time], ofItemAtPath: path)
        return path
    }

    func has(_ name: String) -> Bool {
        var status = stat()
        return lstat("\(root)/\(name)", &status) == 0
    }

    func cleanUp(_ change: (inout FileCleanUp) -> Void = { _ in }) -> HostJob {
        var work = FileCleanUp(root: root, allowsUnknownOpenFiles: true)
        change(&work)
        return .deleteFiles(work)
    }
}

@Suite(.timeLimit(.minutes(5))) struct FileCleanUpTests {
    @Test func oldRotatedFilesGoAndThePlanSaidSo() async throws {
        let logs = try LogDirectory()
        let shop = try await HostShop.make()
        try logs.add("app.log", days: 90)
        try logs.add("app.log.1", days: 31, "1234567890")
        try logs.add("deep/er/app.log-20250101.gz", days: 400, "12345")
        try logs.add("app.log.2", days: 29)
        try logs.add("notes.txt", days: 90)
        let plan = try await shop.plan(logs.cleanUp())
        #expect(plan.map(\.keys) == [["deep/er/app.log-20250101.gz", "app.log.1"]])
        #expect(plan.map(\.bytes) == [15])
        #expect(logs.has("app.log.1"))
        let run = try await shop.run(logs.cleanUp())
        #expect(run.result == .succeeded && run.rows == 2, "\(run.reason ?? "")")
        #expect(!logs.has("app.log.1") && !logs.has("deep/er/app.log-20250101.gz"))
        #expect(logs.has("app.log") && logs.has("app.log.2") && logs.has("notes.txt"))
        #expect(try await shop.metrics(logs.cleanUp()).contains("certs_job_bytes_freed_total{job=\"job\"} 15\n"))
    }

    @Test func aLiveLogGoesOnlyByAPatternOfItsOwn() async throws {
        let logs = try LogDirectory()
        let shop = try await HostShop.make()
        try logs.add("quiet.log", days: 90)
        try logs.add("other", days: 1)
        #expect(try await shop.run(logs.cleanUp()).rows == 0)
        #expect(try await shop.run(logs.cleanUp { $0.patterns = ["*.log"] }).rows == 1)
    }

    @Test func noSymbolicLinkIsFollowed() async throws {
        let logs = try LogDirectory()
        let shop = try await HostShop.make()
        let elsewhere = try TemporaryDirectory(prefix: "certs-else")
        let precious = try elsewhere.write("keep", to: "precious.log.1")
        try FileManager.default.setAttributes(
            [.modificationDate: Date(timeIntervalSince1970: 0)], ofItemAtPath: precious)
        try logs.add("a.log.1", days: 90)
        try FileManager.default.createSymbolicLink(atPath: "\(logs.root)/out", withDestinationPath: elsewhere.path)
        try FileManager.default.createSymbolicLink(atPath: "\(logs.root)/b.log.1", withDestinationPath: precious)
        let run = try await shop.run(logs.cleanUp())
        #expect(run.rows == 1, "\(run.reason ?? "")")
        #expect(FileManager.default.fileExists(atPath: precious))
        #expect(logs.has("b.log.1"))
    }

    @Test func whatBecomesALinkAfterThePlanIsNotFollowedEither() throws {
        let logs = try LogDirectory()
        try logs.add("sub/a.log.1", days: 90)
        guard case .deleteFiles(let work) = logs.cleanUp() else { return }
        var old = OldFiles(work, now: Date())
        let found = try #require(try old.find().first)
        let elsewhere = try TemporaryDirectory(prefix: "certs-else")
        let precious = try elsewhere.write("keep", to: "a.log.1")
        try FileManager.default.moveItem(atPath: "\(logs.root)/sub", toPath: "\(logs.root)/moved")
        try FileManager.default.createSymbolicLink(atPath: "\(logs.root)/sub", withDestinationPath: elsewhere.path)
        let root = try OldFiles.open(logs.root)
        defer { close(root) }
        guard case .kept = OldFiles.remove(found, below: root) else {
            Issue.record("the link was followed")
            return
        }
        #expect(FileManager.default.fileExists(atPath: precious))
    }

    @Test func anOpenFileStays() async throws {
        let logs = try LogDirectory()
        let shop = try await HostShop.make()
        let path = try logs.add("held.log.1", days: 90)
        try logs.add("free.log.1", days: 90)
        let holder = try Tool.start(["tail", "-f", path])
        defer {
            kill(holder, SIGKILL)
            Tool.wait(for: holder)
        }
        for _ in 0..<500 where (try await shop.plan(logs.cleanUp()).first?.held ?? 0) == 0 { usleep(20_000) }
        let run = try await shop.run(logs.cleanUp())
        #expect(run.result == .incomplete)
        #expect(run.rows == 1)
        #expect(run.reason?.contains("held.log.1") == true, "\(run.reason ?? "")")
        #expect(logs.has("held.log.1") && !logs.has("free.log.1"))
    }

    @Test func processesThatHideTheirFilesHoldEverythingBack() async throws {
        let logs = try LogDirectory()
        try logs.add("a.log.1", days: 90)
        // A /proc that shows only this one, as with hidepid.
        let proc = try TemporaryDirectory(prefix: "certs-proc")
        try FileManager.default.createDirectory(atPath: proc.path("4711/fd"), withIntermediateDirectories: true)
        guard case .deleteFiles(var work) = logs.cleanUp() else { return }
        work.allowsUnknownOpenFiles = false
        let strict = FileCleanUpWork(work: work, proc: proc.path)
        let control = JobControl { Date() }
        await #expect(throws: CertsError(.jobRefused, "")) {
            _ = try await strict.run(try Name("job"), control: control)
        }
        #expect(logs.has("a.log.1"))
        work.allowsUnknownOpenFiles = true
        let done = try await FileCleanUpWork(work: work, proc: proc.path).run(try Name("job"), control: control)
        #expect(done.rows == 1)
    }

    @Test func theNewestStayHoweverOld() async throws {
        let logs = try LogDirectory()
        let shop = try await HostShop.make()
        for day in 1...5 { try logs.add("a.log.\(day)", days: 40 + day) }
        #expect(try await shop.run(logs.cleanUp { $0.kept = 2 }).rows == 3)
        #expect(logs.has("a.log.1") && logs.has("a.log.2") && !logs.has("a.log.3"))
    }

    @Test func capsRefuseTheWholeRun() async throws {
        let logs = try LogDirectory()
        let shop = try await HostShop.make()
        for day in 1...3 { try logs.add("a.log.\(day)", days: 40 + day) }
        try logs.add("new", days: 0)
        let files = try await shop.run(logs.cleanUp { $0.limit = 2 })
        #expect(files.result == .refused && files.reason?.contains("3 files") == true, "\(files.reason ?? "")")
        let share = try await shop.run(logs.cleanUp { $0.share = 0.5 })
        #expect(share.result == .refused && share.reason?.contains("3 of 4") == true, "\(share.reason ?? "")")
        #expect(logs.has("a.log.1") && logs.has("a.log.3"))
    }

    @Test(arguments: [
        "/", "/var", "/home", "/etc", "/usr/share/doc", "/var/lib", "/home/someone", "/tmp", "/srv", "/var/lib/docker",
    ])
    func directoriesOfTheSystemAreRefused(root: String) {
        #expect(!OldFiles.isAllowed(root))
    }

    @Test(arguments: [
        "/var/log", "/var/log/messenger", "/srv/app/tmp", "/home/app/logs", "/opt/app", "/var/lib/app/tmp",
    ])
    func directoriesOfServicesAreNot(root: String) { #expect(OldFiles.isAllowed(root)) }

    @Test func anEmptyRootAndALinkAreRefused() async throws {
        let logs = try LogDirectory()
        let shop = try await HostShop.make()
        #expect(await shop.refusal(logs.cleanUp())?.message.contains("no file") == true)
        try logs.add("a.log.1", days: 90)
        let link = logs.directory.path("link")
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: logs.root)
        #expect(await shop.refusal(logs.cleanUp { $0.root = link })?.message.contains("symbolic link") == true)
        #expect(await shop.refusal(logs.cleanUp { $0.root = link + "/none" })?.code == .jobRefused)
        #expect(logs.has("a.log.1"))
    }
}
