import CertsCore
import Synchronization

/// Sessions that go on holding the lock of a job for a while after its run.
final class KeptLocks: Sendable {
    private let holders = Mutex<[Name: JobExecutor.Holder]>([:])

    func keep(_ holder: JobExecutor.Holder?, of job: Name, for seconds: Double) {
        guard let holder else { return }
        holders.withLock { $0[job] = holder }
        Task.detached { [weak self, weak holder] in
            try? await Task.sleep(for: .seconds(seconds))
            guard let self, let holder else { return }
            // Only this one: by now another run may have left its own.
            let isOurs = self.holders.withLock { $0[job] === holder }
            if isOurs { self.release(job) }
        }
    }

    /// Ends the session, and the lock with it.
    func release(_ job: Name) {
        let holder = holders.withLock { $0.removeValue(forKey: job) }
        holder?.release()
    }
}
