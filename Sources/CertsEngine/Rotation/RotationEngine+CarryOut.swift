import CertsCore
import Foundation

// How rotations are begun and driven: each under the lock of its certificate, several side by side, and together where
// they share a reload.
extension RotationEngine {
    /// What is found to do for one certificate, once its lock is held.
    enum Beginning: Sendable {
        case rotation(Rotation, resuming: Bool = false)
        /// With what is to be told of it, if anything.
        case nothing(Result?)
    }

    var width: Int { max(1, context.declarations.schedule.concurrency) }

    /// Carries out one rotation for each name; the results in the order of the names.
    func carryOut(
        _ names: [Name], _ begin: @escaping @Sendable (Name) async throws -> Beginning
    ) async -> [Result] {
        var results: [Result] = []
        let size = max(1, context.batchLimit)
        for start in stride(from: 0, to: names.count, by: size) {
            results += await carryOut(batch: Array(names[start..<min(start + size, names.count)]), begin)
        }
        return results
    }

    func carryOut(_ name: Name, _ begin: @escaping @Sendable (Name) async throws -> Beginning) async -> Result {
        await carryOut([name], begin).first ?? .failed(name, CertsError(.internal, "the rotation has no result"))
    }

    private func carryOut(
        batch names: [Name], _ begin: @escaping @Sendable (Name) async throws -> Beginning
    ) async -> [Result] {
        var batch = RotationBatch(width: width)
        let starts = await concurrently(Array(names.enumerated()), width: width) { place, name in
            await start(name, at: place, begin)
        }
        for (place, start) in starts.enumerated() {
            switch start {
            case .running(let paused): batch.add(paused)
            case .ended(let result): if let result { batch.end(result, at: place) }
            }
        }
        await batch.run()
        return batch.ended.sorted { $0.place < $1.place }.map(\.result)
    }

    private enum Start: Sendable {
        case running(RotationBatch.Paused)
        case ended(Result?)
    }

    private func start(
        _ name: Name, at place: Int, _ begin: @Sendable (Name) async throws -> Beginning
    ) async -> Start {
        do {
            let lock = try await context.revisions.lock(name)
            do {
                switch try await begin(name) {
                case .nothing(let result):
                    lock.release()
                    return .ended(result)
                case .rotation(let rotation, let resuming):
                    var runner = RotationRunner(context: context, rotation, resuming: resuming)
                    let rest = try await runner.advance()
                    // At rest for good: the lock is not needed while others are waited for.
                    if case .sharedStep = rest {} else { lock.release() }
                    return .running(.init(place: place, runner: runner, rest: rest, lock: lock))
                }
            } catch {
                lock.release()
                throw error
            }
        } catch {
            return .ended(.failed(name, .wrapping(error, subject: name.rawValue)))
        }
    }
}
