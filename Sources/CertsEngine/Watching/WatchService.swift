package import CertsCore
import Foundation
import Logging
import ServiceLifecycle

/// The service that keeps what is watched up to date; apart from the planner's timer, which it never holds up.
///
/// Looking at intervals is the truth; notifications of the kernel only make the next look come sooner.
package struct WatchService: Service {
    private let watch: CertificateWatch
    private let publisher: SnapshotPublisher
    private let notifications: (any DirectoryNotifications)?
    /// The shortest time between two looks, however many notifications there are.
    private static let pause = Duration.seconds(1)
    /// How long one wait for a notification takes: so soon a shutdown is noticed.
    private static let slice = Duration.milliseconds(250)
    /// How often a run that found nothing is recorded.
    private static let recordInterval = Duration.seconds(60)

    package init(
        watch: CertificateWatch, publisher: SnapshotPublisher, notifications: (any DirectoryNotifications)?
    ) {
        self.watch = watch
        self.publisher = publisher
        self.notifications = notifications
    }

    package func run() async throws {
        do { try await watch.forget() } catch {
            watch.context.logger.error(
                "what is no longer watched could not be forgotten: \(CertsError.wrapping(error))")
        }
        await cancelWhenGracefulShutdown {
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await scanRepeatedly() }
                group.addTask { await probeRepeatedly() }
            }
        }
    }

    private func scanRepeatedly() async {
        let declared = watch.context.declarations.watch
        guard !declared.directories.isEmpty else { return }
        let interval = Duration.seconds(declared.scanInterval)
        var known: [String] = []
        var recordedAt: ContinuousClock.Instant?
        while !Task.isCancelled {
            let (begin, startedAt) = (ContinuousClock.now, watch.context.now)
            let look = await watch.scan()
            if recordedAt.map({ begin - $0 >= Self.recordInterval }) ?? true || look.isChanged || !look.isRecorded {
                await watch.record(
                    CertificateWatch.scanTaskName,
                    interval: Self.scanRound(declared.scanInterval, elapsed: ContinuousClock.now - begin),
                    startedAt: startedAt, hasSucceeded: look.isRecorded)
                recordedAt = begin
            }
            if look.isChanged || known.isEmpty { await publisher.publish() }
            // A scan of very many files takes at most half of the time.
            let elapsed = ContinuousClock.now - begin
            let earliest = begin + max(Self.pause, elapsed * 2)
            var latest = max(earliest, begin + interval)
            // Each time: a directory that was replaced under its name is another one to the kernel.
            await notifications?.watch(look.directories)
            if look.directories != known {
                known = look.directories
                // What happened between the scan and the watch is told by nobody.
                latest = earliest
            }
            await wait(until: latest, atLeastUntil: earliest)
        }
    }

    /// How often a scan is recorded that takes so long and finds nothing, in seconds: whoever reads the record must not
    /// take it for late.
    static func scanRound(_ interval: TimeInterval, elapsed: Duration) -> TimeInterval {
        max(interval, recordInterval / .seconds(1), elapsed / .seconds(1) * 2)
    }

    /// Until the next look is due, or something has changed.
    private func wait(until end: ContinuousClock.Instant, atLeastUntil earliest: ContinuousClock.Instant) async {
        var isTold = false
        while !Task.isCancelled, ContinuousClock.now < end {
            if isTold, ContinuousClock.now >= earliest { return }
            let rest = max(.milliseconds(1), min(Self.slice, (isTold ? earliest : end) - ContinuousClock.now))
            guard let notifications, !isTold else {
                try? await Task.sleep(for: rest)
                continue
            }
            isTold = await notifications.changed(within: rest)
        }
    }

    private func probeRepeatedly() async {
        let declared = watch.context.declarations.watch
        guard !declared.endpoints.isEmpty else { return }
        while !Task.isCancelled {
            let (begin, startedAt) = (ContinuousClock.now, watch.context.now)
            let isRecorded = await watch.probe()
            // The pause comes after the handshakes, and those with endpoints that hang take their time.
            await watch.record(
                CertificateWatch.probeTaskName,
                interval: declared.probeInterval + (ContinuousClock.now - begin) / .seconds(1), startedAt: startedAt,
                hasSucceeded: isRecorded)
            await publisher.publish()
            try? await Task.sleep(for: .seconds(declared.probeInterval))
        }
    }
}
