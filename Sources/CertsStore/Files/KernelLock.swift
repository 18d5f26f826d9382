import CertsCore
import Foundation
import Synchronization
import SystemPackage

/// `flock` on a directory: nothing is written, nothing is left behind, and the kernel frees it when the process dies.
///
/// The lock belongs to the open file description, and each lock opens the directory anew: so two tasks of one process
/// exclude each other as two processes do. Close-on-exec, so no child keeps it.
final class KernelLock: HeldLock {
    private let held: Mutex<Descriptor?>

    private init(_ descriptor: Descriptor) { held = Mutex(descriptor) }

    deinit { release() }

    /// Unlocks, and does not leave that to the closing: a child between `fork` and `exec` still has the descriptor, and
    /// the lock would last until then.
    func release() {
        held.withLock { descriptor in
            if let descriptor { flock(descriptor.raw, LOCK_UN) }
            descriptor = nil
        }
    }

    /// Takes the lock if it is free; never waits.
    /// - Returns: `nil` if somebody else holds it.
    /// - Parameter reopen: opens the directory; called again if the directory was replaced meanwhile.
    static func attempt(_ reopen: () throws -> Folder) throws -> KernelLock? {
        for _ in 0..<8 {
            let folder = try reopen()
            do {
                try System.retrying { flock(folder.descriptor.raw, LOCK_EX | LOCK_NB) }
            } catch Errno.wouldBlock {
                return nil
            } catch {
                throw FileFailure.unreadable(folder.path, error)
            }
            // A lock on a directory that was removed or replaced after it was opened would exclude nobody.
            let current = try reopen()
            if try current.descriptor.status().isSameFile(as: folder.descriptor.status()) {
                return KernelLock(folder.descriptor)
            }
        }
        return nil
    }

    /// Waits for the lock by asking again, without blocking a thread meanwhile.
    /// - Throws: `lock.held` after `deadline`; `cancelled`.
    static func take(
        _ what: String, path: String, deadline: Duration, on pool: BlockingPool,
        _ reopen: @escaping @Sendable () throws -> Folder
    ) async throws -> KernelLock {
        let clock = ContinuousClock()
        let end = clock.now + deadline
        var pause = Duration.milliseconds(5)
        while true {
            if let lock = try await pool.run({ try attempt(reopen) }) { return lock }
            let left = end - clock.now
            guard left > .zero else { break }
            do {
                try await clock.sleep(for: min(pause, left))
            } catch {
                throw CertsError.wrapping(error, subject: path)
            }
            pause = min(pause * 2, .milliseconds(100))
        }
        throw CertsError(
            .lockHeld, "another process or task is working on \(what)", subject: path,
            hint: "wait until it is done; `fuser \(path)` names the process", retry: .later)
    }
}
