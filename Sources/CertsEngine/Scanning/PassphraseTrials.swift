import CertsCore
import Synchronization

/// Which passphrase did not open which file, so that it is not tried again while both are as they were. Kept in memory: a new
/// process tries once more.
final class PassphraseTrials: Sendable {
    private struct Trial {
        let stamp: FileStamp
        /// `nil`: there was none.
        let passphrase: Secret?
    }

    private let trials = Mutex<[PathKey: Trial]>([:])

    func contain(_ path: String, _ stamp: FileStamp, _ passphrase: Secret?) -> Bool {
        guard let trial = trials.withLock({ $0[PathKey(path)] }) else { return false }
        return trial.stamp == stamp && trial.passphrase == passphrase
    }

    /// - Parameter problem: what came of it; a file that was opened is not kept.
    func note(_ path: String, _ stamp: FileStamp, _ passphrase: Secret?, _ problem: WatchReason?) {
        let isClosed = problem == .noPassphrase || problem == .badPassphrase
        let trial = isClosed ? Trial(stamp: stamp, passphrase: passphrase) : nil
        trials.withLock { $0[PathKey(path)] = trial }
    }

    func forget(_ paths: [String]) {
        guard !paths.isEmpty else { return }
        trials.withLock { trials in
            for path in paths { trials[PathKey(path)] = nil }
        }
    }
}
