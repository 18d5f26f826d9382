import CertsCore
import CertsMaintenance
import CertsStore
import CertsTesting
import Foundation
import Testing

@Suite(.timeLimit(.minutes(10))) struct WindowProcedureTests {
    private static let on = "{\"enabled\":true,\"message\":\"System undergoing maintenance\"}"
    private static let off = "{\"enabled\":false}"

    @Test func aWindowAnnouncesSwitchesTheModeOnWorksVerifiesAndSwitchesItOff() async throws {
        let server = try AdminServer()
        let look = ["/usr/bin/curl", "-sf", "-H", "Authorization: Bearer \(AdminServer.token)"]
        let directory = try TemporaryDirectory()
        let file = directory.path("mode")
        let shop = try await WindowShop.make(
            [("look", look + ["-o", file, server.url + AdminServer.maintenance]), ("touch", ["/bin/true"])],
            verify: [["/bin/true", "all"]]
        ) { $0.admin?.url = server.url }
        let window = try await shop.open { $0.message = "Scheduled maintenance at 2AM UTC" }
        #expect(
            server.requests.filter { $0.method == "POST" }.map(\.path) == [
                AdminServer.announcements, AdminServer.maintenance, AdminServer.maintenance,
            ])
        #expect(
            server.requests.filter { $0.method == "POST" }.map(\.body) == [
                "{\"message\":\"Scheduled maintenance at 2AM UTC\",\"severity\":\"info\"}", Self.on, Self.off,
            ])
        for request in server.requests where request.method == "POST" {
            #expect(request.headers["authorization"] == "Bearer \(AdminServer.token)")
            #expect(request.headers["content-type"] == "application/json")
            #expect(request.headers["idempotency-key"]?.hasPrefix(window.id) == true)
        }
        let seen = String(decoding: FileManager.default.contents(atPath: file) ?? Data(), as: UTF8.self)
        #expect(seen == "{\"enabled\":true}")
        #expect(!server.isOn)
        #expect(
            try await shop.events(window) == [
                "announce done", "mode-on done", "task done look", "task done touch", "verify done /bin/true all",
                "verify done certificate messenger", "mode-off done", "close done",
            ])
        #expect(window.closedAt != nil && window.openedBy == "ops@host")
        #expect(try await shop.database.lease() == nil)
        let runs = try await shop.database.runs(of: nil, limit: 5)
        #expect(runs.map(\.window) == [window.id, window.id])
    }

    @Test func withoutAMessageTheAnnouncementSaysWhichDay() async throws {
        let shop = try await WindowShop.make()
        let window = try await shop.open()
        let day = ISO8601DateFormatter().string(from: window.openedAt).prefix(10)
        #expect(shop.server.announcements.first?.contains("Emergency maintenance from \(day) ") == true)
        #expect(shop.server.announcements.first?.contains(" UTC") == true)
    }

    @Test(arguments: [401, 500, 301]) func whatIsNotTakenIsNoAnnouncementAndNothingIsDone(status: Int) async throws {
        let shop = try await WindowShop.make([("work", ["/bin/true"])])
        shop.server.behave("POST", AdminServer.announcements, .status(status), .status(status), .status(status))
        let error = await #expect(throws: CertsError.self) { try await shop.open() }
        #expect(error?.code == .adminFailed)
        #expect(error?.message.contains(String(status)) == true)
        #expect(!shop.server.wasEverOn)
        #expect(try await shop.database.runs(of: nil, limit: 5).isEmpty)
        let window = try #require(try await shop.database.windows(limit: 1).first)
        #expect(window.closedAt != nil)
        #expect(try await shop.events(window) == ["announce failed", "close done"])
        #expect(shop.server.requests.count == (status == 500 ? 3 : 1))
    }

    @Test func anAnswerThatIsLostIsAskedForAgainAndTheUsersAreToldOnce() async throws {
        let shop = try await WindowShop.make()
        shop.server.behave("POST", AdminServer.announcements, .losesAnswer, .status(503))
        shop.server.behave("POST", AdminServer.maintenance, .losesAnswer)
        let window = try await shop.open()
        #expect(shop.server.announcements.count == 1)
        #expect(shop.server.requests.count { $0.path == AdminServer.announcements } == 3)
        #expect(try await shop.events(window).last == "close done")
        #expect(!shop.server.isOn)
    }

    @Test(arguments: [true, false]) func aModeThatDoesNotGoOnForSureIsOffAgain(hangs: Bool) async throws {
        let shop = try await WindowShop.make([("work", ["/bin/true"])])
        let bad: AdminServer.Behaviour = hangs ? .hangs : .status(500)
        shop.server.behave("POST", AdminServer.maintenance, bad, bad, bad)
        await #expect(throws: CertsError.self) { try await shop.open() }
        #expect(!shop.server.isOn)
        #expect(shop.posts.last == Self.off)
        #expect(try await shop.database.runs(of: nil, limit: 5).isEmpty)
        // It may still be under way: it is switched off once more, later.
        #expect(try await shop.database.lease() != nil)
        shop.server.isOn = true
        #expect(await shop.mode.reconcile())
        #expect(shop.server.isOn)
        shop.advance(by: 61)
        #expect(await shop.mode.reconcile())
        #expect(!shop.server.isOn)
        #expect(try await shop.database.lease() == nil)
    }

    @Test func aServiceThatSwitchesLateIsSwitchedOffInTheEnd() async throws {
        let shop = try await WindowShop.make { $0.admin?.timeout = 1 }
        shop.server.behave("POST", AdminServer.maintenance, .late(6), .late(6), .late(6))
        await #expect(throws: CertsError.self) { try await shop.open() }
        try await Task.sleep(for: .seconds(9))
        #expect(shop.server.isOn)
        shop.advance(by: 61)
        await shop.mode.reconcile()
        #expect(!shop.server.isOn)
    }

    @Test func aServiceThatSaysYesAndDoesNothingIsFoundOut() async throws {
        let shop = try await WindowShop.make([("work", ["/bin/true"])], readsMode: true)
        shop.server.behave("POST", AdminServer.maintenance, .lies)
        let error = await #expect(throws: CertsError.self) { try await shop.open() }
        #expect(error?.message.contains("says that it is off") == true)
        #expect(!shop.server.isOn)
        #expect(try await shop.database.runs(of: nil, limit: 5).isEmpty)
    }

    @Test func aModeThatIsStillOnIsNotCalledOffAndIsTriedAgain() async throws {
        let shop = try await WindowShop.make([("work", ["/bin/true"])], readsMode: true)
        shop.server.behave("POST", AdminServer.maintenance, .normal, .lies)
        let error = await #expect(throws: CertsError.self) { try await shop.open() }
        #expect(error?.message.contains("says that it is on") == true)
        #expect(shop.server.isOn)
        #expect(try await shop.metrics().contains("certs_maintenance_mode 1\n"))
        #expect(try await shop.database.runs(of: nil, limit: 5).count == 1)
        #expect(await shop.mode.reconcile())
        #expect(!shop.server.isOn)
        #expect(try await shop.metrics().contains("certs_maintenance_mode 0\n"))
    }

    @Test func aModeThatSomebodyHadOnBeforeStaysOn() async throws {
        let shop = try await WindowShop.make([("work", ["/bin/true"])], readsMode: true)
        shop.server.isOn = true
        let window = try await shop.open()
        #expect(shop.server.isOn)
        #expect(shop.posts.count == 1)
        #expect(
            try await shop.events(window) == [
                "announce done", "mode-on skipped", "task done work", "verify done certificate messenger", "close done",
            ])
    }

    @Test func aTaskThatFailsIsRecordedTheOthersRunAndTheModeIsOff() async throws {
        let shop = try await WindowShop.make(
            [("bad", ["/bin/sh", "-c", "echo no room >&2; exit 3"]), ("good", ["/bin/true"])], verify: [["/bin/false"]])
        let window = try await shop.open()
        #expect(
            try await shop.events(window) == [
                "announce done", "mode-on done", "task failed bad", "task done good", "verify failed /bin/false",
                "verify done certificate messenger", "mode-off done", "close done",
            ])
        #expect(!shop.server.isOn)
    }

    @Test func aJobThatTakesLongerThanIsLeftIsNotBegun() async throws {
        let shop = try await WindowShop.make([("long", ["/bin/true"])]) { $0.jobs[0].deadline = 600 }
        let window = try await shop.open { $0.length = 300 }
        #expect(try await shop.events(window).contains("task skipped long"))
        #expect(try await shop.database.runs(of: nil, limit: 5).isEmpty)
    }

    @Test func theEndOfTheWindowEndsTheJobThatRuns() async throws {
        let shop = try await WindowShop.make([("long", ["/bin/sleep", "300"])]) { $0.jobs[0].deadline = 600 }
        // Last time it was quick.
        let before = shop.now().addingTimeInterval(-3600)
        try await shop.database.finish(
            JobRun(
                id: "before", job: shop.maintenance.jobs[0].name, occurrence: nil, startedAt: before, endedAt: before,
                result: .succeeded, source: .timer, runner: "host:1"))
        let window = try await shop.open { $0.length = 20 }
        #expect(try await shop.events(window).contains("task failed long"))
        #expect(!shop.server.isOn)
    }

    @Test func workByHandHasAModeThatGoesOffAtItsEndAndAWindowThatOverruns() async throws {
        let shop = try await WindowShop.make([("work", ["/bin/true"])])
        let window = try await shop.open { $0.runsTasks = false }
        #expect(shop.server.isOn)
        #expect(window.closedAt == nil)
        #expect(await shop.mode.reconcile())
        #expect(shop.server.isOn)
        let refused = await #expect(throws: CertsError.self) { try await shop.open() }
        #expect(refused?.code == .jobRefused)
        shop.advance(by: 3600 + 90)
        #expect(await shop.mode.reconcile())
        #expect(!shop.server.isOn)
        let text = try await shop.metrics()
        #expect(text.contains("certs_maintenance_window_active{type=\"emergency\"} 1\n"))
        let overrun = text.split(separator: "\n").first { $0.hasPrefix("certs_window_overrun_seconds{") }
        #expect((90...200).contains(Double(overrun?.split(separator: " ").last ?? "") ?? 0))
        let closed = try await shop.procedure.close()
        #expect(closed.id == window.id && closed.overrun(at: shop.now()) >= 90)
        #expect(try await shop.metrics().contains("certs_window_overrun_seconds{type=\"emergency\"} 0\n"))
        let none = await #expect(throws: CertsError.self) { try await shop.procedure.close() }
        #expect(none?.code == .nameUnknown)
    }

    @Test func aTypeWithoutALengthAsksForOne() async throws {
        let shop = try await WindowShop.make { $0.windows[0].duration = nil }
        let error = await #expect(throws: CertsError.self) { try await shop.open() }
        #expect(error?.hint?.contains("--for") == true)
        let undeclared = await #expect(throws: CertsError.self) { try await shop.open { $0.type = .major } }
        #expect(undeclared?.code == .nameUnknown)
        #expect(shop.server.requests.isEmpty)
    }

    @Test func alertsOfTheServiceAreSilentWhileTheWindowIsOpen() async throws {
        let directory = try TemporaryDirectory(prefix: "certs-silence")
        let port = try LoopbackPort.reserve()
        try directory.write("route: { receiver: none }\nreceivers: [ { name: none } ]\n", to: "alertmanager.yml")
        let process = ServerProcess(
            [
                "prometheus-alertmanager", "--config.file=\(directory.path("alertmanager.yml"))",
                "--storage.path=\(directory.path("data"))", "--web.listen-address=127.0.0.1:\(port)",
                "--cluster.listen-address=",
            ], directory: directory.path, log: directory.path("log"))
        try await BlockingPool.network.run { try process.start(within: 60) { LoopbackPort.isServed(port) } }
        defer { process.stop() }
        let url = "http://127.0.0.1:\(port)"
        func silences() async throws -> String {
            try await BlockingPool.network.run { try Tool.run(["curl", "-sf", "\(url)/api/v2/silences"]).output }
        }
        let shop = try await WindowShop.make { maintenance in
            maintenance.alertmanager = AlertmanagerDeclaration(url: url, matchers: ["job": "messenger"])
        }
        let window = try await shop.open { $0.runsTasks = false }
        #expect(try await shop.events(window) == ["announce done", "mode-on done", "silence done"])
        let active = try await silences()
        #expect(active.contains("\"state\":\"active\""), "\(active)")
        #expect(active.contains("maintenance window \(window.id)") && active.contains("\"value\":\"messenger\""))
        _ = try await shop.procedure.close()
        let ended = try await silences()
        #expect(ended.contains("\"state\":\"expired\"") && !ended.contains("\"state\":\"active\""), "\(ended)")
        // One that is away does not keep anybody from working.
        process.stop()
        let next = try await shop.open()
        #expect(try await shop.events(next).contains("silence failed"))
        #expect(!shop.server.isOn && next.closedAt != nil)
    }
}
