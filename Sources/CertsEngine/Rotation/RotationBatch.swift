import CertsCore
import Foundation

/// Rotations that have come to a step which makes HAProxy reload: each waits there until all of them have come as far, or
/// have ended; then the step is taken once for all that are on the same node.
struct RotationBatch {
    let width: Int
    private var paused: [Paused] = []
    private(set) var ended: [(place: Int, result: RotationEngine.Result)] = []

    /// A rotation at rest, with the lock of its certificate and its place in the results.
    struct Paused: Sendable {
        let place: Int
        var runner: RotationRunner
        var rest: RotationRunner.Rest
        let lock: any HeldLock
    }

    init(width: Int) { self.width = width }

    mutating func add(_ rotation: Paused) { settle(rotation) }

    mutating func end(_ result: RotationEngine.Result, at place: Int) { ended.append((place, result)) }

    /// Until every rotation has ended or waits for its issuer.
    mutating func run() async {
        while !paused.isEmpty {
            let due = due
            let groups = Dictionary(grouping: paused.filter { due.contains($0.step) }, by: \.step)
            paused.removeAll { due.contains($0.step) }
            let taken = await withTaskGroup(of: [Paused].self) { tasks in
                for (step, group) in groups { tasks.addTask { await Self.take(step, group) } }
                return await tasks.reduce(into: []) { $0 += $1 }
            }
            for outcome in await concurrently(taken, width: width, Self.advance) {
                switch outcome {
                case .success(let rotation): settle(rotation)
                case .failure(let failure): ended.append((failure.place, failure.result))
                }
            }
        }
    }

    /// The steps that no other rotation will come to later; all of them, where each waits for another.
    private var due: Set<RotationRunner.SharedStep?> {
        let steps = Set(paused.map(\.step))
        let complete = steps.filter { step in
            guard let step, !step.isRestore else { return true }
            return !paused.contains { $0.step != step && $0.runner.willReload(step.node) }
        }
        return complete.isEmpty ? steps : complete
    }

    private mutating func settle(_ rotation: Paused) {
        switch rotation.rest {
        case .finished: ended.append((rotation.place, .rotated(rotation.runner.rotation)))
        case .waiting: ended.append((rotation.place, .waiting(rotation.runner.rotation)))
        case .sharedStep: return paused.append(rotation)
        }
        rotation.lock.release()
    }

    private static func take(_ step: RotationRunner.SharedStep?, _ group: [Paused]) async -> [Paused] {
        guard let step else { return group }
        var runners = group.map(\.runner)
        await RotationRunner.take(step, for: &runners)
        return zip(group, runners).map { old, runner in
            var next = old
            next.runner = runner
            return next
        }
    }

    private struct EndNotRecorded: Error {
        let place: Int
        let result: RotationEngine.Result
    }

    @Sendable private static func advance(_ rotation: Paused) async -> Result<Paused, EndNotRecorded> {
        var rotation = rotation
        do {
            rotation.rest = try await rotation.runner.advance()
            return .success(rotation)
        } catch {
            rotation.lock.release()
            let name = rotation.runner.rotation.certificate
            let failure = CertsError.wrapping(error, subject: name.rawValue)
            return .failure(EndNotRecorded(place: rotation.place, result: .failed(name, failure)))
        }
    }
}

extension RotationBatch.Paused {
    fileprivate var step: RotationRunner.SharedStep? {
        if case .sharedStep(let step) = rest { step } else { nil }
    }
}
