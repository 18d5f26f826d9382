import CertsCore
import Foundation

/// A master of HAProxy and its workers at one moment.
///
/// What the signals tell was measured with 2.6.12 and read in the source up to 3.5: only a master catches SIGUSR2 (a
/// worker and a HAProxy without `-W` ignore it), and it blocks the signal from the moment it begins to reload until
/// the new worker has loaded its files, or has failed to.
struct WorkerTree: Sendable, Equatable {
    let master: ProcessStatus
    /// `nil`: who its children are cannot be seen.
    let workers: [ProcessStatus]?

    init(master: ProcessStatus, workers: [ProcessStatus]?) {
        self.master = master
        self.workers = workers
    }

    /// - Returns: `nil` where no such process runs, or none that we may see.
    static func look(at pid: Int) async -> WorkerTree? {
        try? await BlockingPool.network.run {
            guard let master = ProcessStatus.read(pid), !master.hasEnded else { return nil }
            // Programs of a `program` section are children too.
            let workers = ProcessStatus.children(of: pid)?.compactMap { ProcessStatus.read($0) }.filter {
                $0.parent == pid && $0.name == master.name && !$0.hasEnded
            }
            return WorkerTree(master: master, workers: workers)
        }
    }

    /// It reads no files now, and would notice a signal.
    var listens: Bool { master.catches(SIGUSR2) && !master.blocks(SIGUSR2) }

    var isMaster: Bool { master.catches(SIGUSR2) || (master.blocks(SIGUSR2) && workers?.isEmpty != true) }

    /// Since `earlier` it has begun a reload, whatever came of it. `nil`: not known.
    func hasReloaded(since earlier: WorkerTree) -> Bool? {
        guard master.image != 0, earlier.master.image != 0 else { return nil }
        return master.image != earlier.master.image
    }

    /// The worker that was not there before.
    func newWorker(since earlier: WorkerTree) -> ProcessStatus? {
        workers?.last { worker in earlier.workers?.contains { worker.isSame(as: $0) } == false }
    }

    /// Workers of `earlier` that are still there.
    func remaining(of earlier: WorkerTree) -> [ProcessStatus] {
        workers?.filter { worker in earlier.workers?.contains { worker.isSame(as: $0) } == true } ?? []
    }
}

extension ProcessStatus {
    /// Pids are used again.
    fileprivate func isSame(as other: ProcessStatus) -> Bool { pid == other.pid && startTicks == other.startTicks }
}
