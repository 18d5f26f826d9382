import CertsCore
import CertsTesting
import Foundation
import Logging
import ServiceLifecycle
import Synchronization
import Testing

@testable import CertsEngine

/// What systemd hears, on a socket as it opens one.
@Suite(.timeLimit(.minutes(1))) struct SystemdTests {
    @Test(arguments: [true, false]) func saysReadyToAPathAndToAnAbstractName(isAbstract: Bool) throws {
        let socket = try NotifySocket(isAbstract: isAbstract)
        let notifier = try #require(SystemdNotifier(["NOTIFY_SOCKET": socket.name]))
        #expect(notifier.watchdog == nil)
        notifier.ready()
        #expect(socket.next() == "READY=1")
        notifier.say("two\nlines\u{1b}[31m")
        let status = try #require(socket.next())
        #expect(status.hasPrefix("STATUS=two") && !status.contains("\n") && !status.contains("\u{1b}"), "\(status)")
        notifier.stopping()
        #expect(socket.next()?.hasPrefix("STOPPING=1\n") == true)
    }

    @Test(arguments: [[:], ["NOTIFY_SOCKET": ""], ["NOTIFY_SOCKET": "@"], ["NOTIFY_SOCKET": "vsock:2:1"]])
    func thereIsNoNotifierWithoutASocket(environment: [String: String]) {
        #expect(SystemdNotifier(environment) == nil)
        #expect(SystemdNotifier(["NOTIFY_SOCKET": "/" + String(repeating: "x", count: 108)]) == nil)
    }

    @Test func theWatchdogIsForThisProcessOnly() throws {
        func period(_ pid: String?, _ microseconds: String?) -> Duration? {
            var environment = ["NOTIFY_SOCKET": "/run/none"]
            environment["WATCHDOG_PID"] = pid
            environment["WATCHDOG_USEC"] = microseconds
            return SystemdNotifier(environment, process: 7)?.watchdog
        }
        #expect(period("7", "120000000") == .seconds(120))
        #expect(period(nil, "120000000") == .seconds(120))
        #expect(period("8", "120000000") == nil)
        #expect(period("7", nil) == nil)
        #expect(period("7", "0") == nil)
        #expect(period("7", "-5") == nil)
        #expect(period("7", "soon") == nil)
    }

    @Test func aSupervisorThatDoesNotReadStopsNothing() throws {
        let socket = try NotifySocket()
        let notifier = try #require(SystemdNotifier(["NOTIFY_SOCKET": socket.name]))
        // More than the queue of the socket takes.
        for _ in 0..<5000 { notifier.alive() }
        SystemdNotifier(["NOTIFY_SOCKET": "/nowhere/to/be/found"])?.alive()
        #expect(socket.next() == "WATCHDOG=1")
    }

    @Test func theSignsOfLifeEndWhenThePlannerHangs() async throws {
        let socket = try NotifySocket()
        let notifier = try #require(
            SystemdNotifier(["NOTIFY_SOCKET": socket.name, "WATCHDOG_USEC": "60000"]))
        let passed = Mutex(Duration.zero)
        let start = SuspendingClock.now
        let heartbeat = Heartbeat(limit: .seconds(3600), now: { start + passed.withLock { $0 } })
        heartbeat.beat("rotating")
        let reports = SystemdReports(notifier, heartbeat: heartbeat, pollInterval: .milliseconds(10))
        let group = ServiceGroup(
            services: [reports, SystemdFarewell(notifier)],
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        async let served: Void = group.run()
        #expect(await heard(socket) { $0 == "STATUS=rotating" })
        for _ in 0..<3 { #expect(await heard(socket) { $0 == "WATCHDOG=1" }) }
        // Nothing beats any more: the signs end, and the status says why.
        passed.withLock { $0 = .seconds(3660) }
        #expect(await heard(socket) { $0 == "STATUS=stalled: nothing has moved for 61 min since: rotating" })
        let after = try await blocking.run { socket.all(for: .milliseconds(300)) }
        #expect(after.isEmpty, "\(after)")
        // It moves again: so do the signs.
        heartbeat.beat("waiting")
        #expect(await heard(socket) { $0 == "WATCHDOG=1" })
        await group.triggerGracefulShutdown()
        #expect(await heard(socket) { $0.hasPrefix("STOPPING=1") })
        try await served
    }

    private let blocking = BlockingPool(name: "systemd-tests", width: 2)

    private func heard(_ socket: NotifySocket, _ isWanted: @escaping @Sendable (String) -> Bool) async -> Bool {
        (try? await blocking.run { socket.next(where: isWanted) != nil }) == true
    }

    @Test func theTimerBeatsWithEachPieceOfWorkAndSaysWhatItDid() async throws {
        let world = try await EngineWorld()
        var context = world.engine().context
        let pulses = Mutex(0)
        context.pulse = { pulses.withLock { $0 += 1 } }
        let heartbeat = Heartbeat()
        let publisher = SnapshotPublisher(context: context, published: PublishedSnapshot(), version: "test")
        let timer = RenewalTimer(
            engine: RotationEngine(context), publisher: publisher, heartbeat: heartbeat, random: { 0 })
        await timer.tick()
        #expect(heartbeat.status.contains("went well; the next is at "), "\(heartbeat.status)")
        #expect(pulses.withLock { $0 } >= 2, "observed, and looked at for drift")
        world.issuer.behaviour = .fails(.later)
        world.clock.advance(by: 80 * 86400)
        await timer.tick()
        #expect(heartbeat.status.contains("failed: see `certs history`"), "\(heartbeat.status)")
        #expect(heartbeat.isAlive && heartbeat.silence < .seconds(30))
    }
}
