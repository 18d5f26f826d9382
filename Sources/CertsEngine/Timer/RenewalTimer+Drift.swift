import CertsCore
import Foundation
import Logging
import Synchronization

// The look for drift that follows each tick.
extension RenewalTimer {
    /// What the log has told: each difference once when it appears, and once when it is gone. That it is still there
    /// tells the metric.
    struct ToldDrift: Sendable {
        private var told: [Drift] = []
        var isLimitTold = false

        mutating func replace(with found: [Drift]) -> (new: [Drift], gone: [Drift]) {
            defer { told = found }
            let (before, now) = (Set(told), Set(found))
            // The same place with another difference is not gone.
            let places = Set(found.map { "\($0.node) \($0.path)" })
            return (
                found.filter { !before.contains($0) },
                told.filter { !now.contains($0) && !places.contains("\($0.node) \($0.path)") }
            )
        }
    }

    /// After the rotations, so that what they change is no drift.
    func lookForDrift() async {
        let declarations = context.declarations
        let count = declarations.certificates.reduce(0) { $0 + declarations.nodes(of: $1).count }
        guard count <= driftLimit else {
            guard
                toldDrift.withLock({ told in
                    defer { told.isLimitTold = true }
                    return !told.isLimitTold
                })
            else { return }
            return context.logger.notice(
                "drift is not looked for by itself: \(count) deployments take too long",
                metadata: ["hint": "`certs drift NAME…` looks at some of them"])
        }
        do {
            var record = try await context.schedule.task(Self.driftTaskName) ?? TaskRecord(name: Self.driftTaskName)
            let startedAt = context.now
            record.lastRunAt = startedAt
            record.interval = context.declarations.schedule.tick
            try await context.schedule.save(record)
            let found = await engine.drift()
            tell(toldDrift.withLock { $0.replace(with: found) })
            record.lastSuccessAt = context.now
            record.duration = max(0, context.now.timeIntervalSince(startedAt))
            try await context.schedule.save(record)
            await publisher.publish(found)
        } catch {
            context.logger.error("drift could not be looked for: \(CertsError.wrapping(error))")
        }
    }

    private func tell(_ change: (new: [Drift], gone: [Drift])) {
        func metadata(_ drift: Drift) -> Logger.Metadata {
            [
                "target": "\(drift.node)", "certificate": "\(drift.certificate)",
                "file": "\(TerminalText.sanitized(drift.path))", "drift": "\(drift.kind.rawValue)",
            ]
        }
        for drift in change.new {
            let text = "\(TerminalText.sanitized(drift.message)); \(TerminalText.sanitized(drift.remedy))"
            context.logger.warning("\(text)", metadata: metadata(drift))
        }
        for drift in change.gone { context.logger.notice("as declared again", metadata: metadata(drift)) }
    }
}
