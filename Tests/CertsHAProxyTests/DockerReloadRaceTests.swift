import CertsCore
import CertsDocker
import CertsTesting
import Foundation
import Synchronization
import Testing

@testable import CertsHAProxy

/// Reloads that come out in a way that a real HAProxy shows only now and then, played by a fake engine.
@Suite struct DockerReloadRaceTests {
    /// What the container looks like: at first, and after each signal.
    struct Act {
        /// The pids of the workers at each look, the last one from then on.
        var workers: [[Int]]
        /// `nil`: the engine cannot read the log.
        var log: String? = ""
    }

    /// Plays `acts`, the next one with each signal.
    private final class Play: Sendable {
        private let state = Mutex((signals: 0, looks: 0))
        let acts: [Act]

        init(_ acts: [Act]) { self.acts = acts }

        var signals: Int { state.withLock { $0.signals } }

        func answer(_ request: String) -> Data {
            let path = request.split(separator: " ").dropFirst().first.map(String.init) ?? ""
            let act = acts[min(signals, acts.count - 1)]
            switch path.split(separator: "/").last?.prefix(while: { $0 != "?" }) {
            case "version": return FakeDockerEngine.reply(#"{"ApiVersion":"1.41"}"#)
            case "exec", "restart": return FakeDockerEngine.reply(#"{"Id":"e"}"#, status: "201 Created")
            case "start": return FakeDockerEngine.reply("")
            case "json" where path.contains("/exec/"):
                return FakeDockerEngine.reply(#"{"Running":false,"ExitCode":0}"#)
            case "json":
                return FakeDockerEngine.reply(
                    """
                    {"Id":"x","Name":"/x","Path":"haproxy","Args":[],"Config":{"Tty":false},"Mounts":[],
                    "State":{"Status":"running","Pid":10,"ExitCode":0,"StartedAt":"then"}}
                    """)
            case "top":
                let look = state.withLock { state in
                    defer { state.looks += 1 }
                    return state.looks
                }
                let rows =
                    [#"["10","1","00:09","haproxy -W -f a"]"#]
                    + act.workers[min(look, act.workers.count - 1)].map {
                        #"["\#($0)","10","00:01","haproxy -W -f a"]"#
                    }
                return FakeDockerEngine.reply(
                    #"{"Titles":["PID","PPID","ELAPSED","COMMAND"],"Processes":[\#(rows.joined(separator: ","))]}"#)
            case "logs":
                return act.log.map { FakeDockerEngine.reply($0) }
                    ?? FakeDockerEngine.reply(#"{"message":"no such driver"}"#, status: "501 Not Implemented")
            case "kill":
                state.withLock { $0 = ($0.signals + 1, 0) }
                return FakeDockerEngine.reply("", status: "204 No Content")
            default: return FakeDockerEngine.reply("", status: "404 Not Found")
            }
        }
    }

    private static let reloading = "[NOTICE]   (1) : Reloading HAProxy\n"
    private static let success = "[NOTICE]   (1) : Loading success.\n"
    private static let before = Act(workers: [[11]])

    private func reload(_ acts: [Act]) async throws -> (result: Result<ReloadOutcome, any Error>, signals: Int) {
        let directory = try TemporaryDirectory(prefix: "dkr")
        let play = Play([Self.before] + acts)
        let fake = try FakeDockerEngine(at: directory.path("docker.sock")) { play.answer($0) }
        let reloader = DockerReloader(
            container: DockerContainer(selector: .name("x"), engineSocket: fake.path), reply: .seconds(20),
            pause: .milliseconds(5), settling: .milliseconds(100))
        let result = await Result { try await reloader.reload(within: .seconds(8)) }
        return withExtendedLifetime(fake) { (result, play.signals) }
    }

    private func evidence(_ acts: [Act]) async throws -> (worker: Int?, signals: Int, message: String) {
        let (result, signals) = try await reload(acts)
        switch result {
        case .success(let outcome):
            guard case .newWorker(let pid) = outcome.evidence else { return (nil, signals, "\(outcome)") }
            return (pid, signals, "")
        case .failure(let error): return (nil, signals, CertsError.wrapping(error).message)
        }
    }

    @Test func signalsASecondTimeWhereTheFirstSignalWasLost() async throws {
        let found = try await evidence([
            Act(workers: [[11]]), Act(workers: [[11], [11, 12]], log: Self.reloading + Self.success),
        ])
        #expect(found.worker == 12 && found.signals == 2, "\(found)")
    }

    /// Its new worker may have read the files before ours were there.
    @Test func doesNotTakeAReloadOfSomebodyElseForItsOwn() async throws {
        let foreign = Act(workers: [[11], [12]], log: Self.success)
        let found = try await evidence([
            foreign, Act(workers: [[12, 13]], log: Self.success + Self.reloading + Self.success),
        ])
        #expect(found.worker == 13 && found.signals == 2, "\(found)")
        let alone = try await evidence([foreign])
        #expect(alone.worker == nil && alone.message.contains("no new worker"), "\(alone)")
    }

    /// HAProxy 3.1 and later start the worker before it has read anything.
    @Test func doesNotBelieveAWorkerThatEndsAtOnce() async throws {
        let found = try await evidence([Act(workers: [[11], [11, 12], [11]], log: Self.reloading)])
        #expect(found.worker == nil && found.signals == 1, "\(found)")
    }

    @Test func believesAWorkerThatStaysWhereTheLogCannotBeRead() async throws {
        let found = try await evidence([Act(workers: [[11], [11, 12]], log: nil)])
        #expect(found.worker == 12 && found.signals == 1, "\(found)")
    }

    @Test func tellsAFailureAtOnceAndDoesNotSignalAgain() async throws {
        let log = Self.reloading + "[ALERT]    (1) : no such file\n[WARNING]  (1) : Loading failure!\n"
        let found = try await evidence([Act(workers: [[11]], log: log)])
        #expect(found.worker == nil && found.signals == 1, "\(found)")
        #expect(found.message.hasSuffix("could not load its files: [ALERT]    (1) : no such file"))
    }

    @Test func sendsNoSignalIntoAReloadThatStillLoads() async throws {
        let found = try await evidence([Act(workers: [[11]], log: Self.reloading)])
        #expect(found.worker == nil && found.signals == 1, "\(found)")
    }

    @Test func namesTheWorkersThatWereThereBefore() async throws {
        let act = Act(workers: [[11], [11, 12]], log: Self.reloading + Self.success)
        let outcome = try await reload([act]).result.get()
        #expect(outcome.oldWorkers == [OldWorker(pid: 11, age: 1)])
    }
}
