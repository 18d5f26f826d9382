import CertsCore
import Foundation
import Logging
import Synchronization

/// Something that listens until it is stopped.
protocol StoppableListener: Sendable {
    /// Returns when the port is free.
    func stop() async
}

/// What this process shows on one address, for all issuers together: it listens while there is something to show.
///
/// Where somebody else has the port, it is tried again and again until it is free: another process of ours answers for our
/// proofs meanwhile, and whether it does is what the self-check finds out. `SO_REUSEPORT`, which would let both listen, is
/// no way: HAProxy sets it too, and a listener of ours on a port of HAProxy's would get half of its visitors.
final class ChallengeListener<Proof: Sendable>: Sendable {
    /// Finds a proof of another process.
    typealias Lookup = @Sendable (String) async -> Proof?
    typealias Open = @Sendable (SocketAddress, ShownProofs<Proof>) throws(CertsError) -> any StoppableListener

    private enum Outcome { case refused, shown, waits, failed(CertsError) }

    private struct State {
        var shown: [String: Proof] = [:]
        /// Where to look for the proofs of other processes, each with the number of our proofs that brought it.
        var sources: [ProofSource: (lookup: Lookup, count: Int)] = [:]
        var running: (any StoppableListener)?
        /// How many were stopped: one that is about to close answers nobody any longer.
        var stopped = 0
        var isWaiting = false
    }

    let address: SocketAddress
    private let open: Open
    private let state = Mutex(State())

    init(_ address: SocketAddress, open: @escaping Open) {
        self.address = address
        self.open = open
    }

    /// Whether the port is somebody else's, as far as we know.
    var isElsewhere: Bool { state.withLock { $0.isWaiting } }
    var isListening: Bool { state.withLock { $0.running != nil } }
    var shown: [String] { state.withLock { Array($0.shown.keys) } }

    /// Shows `proof` under `key`, and listens.
    ///
    /// - Parameters:
    ///   - source: how proofs of other processes are found, and its identity.
    ///   - mayReplace: asked about another proof that is shown under `key`.
    /// - Returns: whether it is shown: not, if another one may not be replaced.
    /// - Throws: `listen.failed`; nothing is shown then. A port that is taken is no error.
    @discardableResult
    func show(
        _ proof: Proof, under key: String, source: (identity: ProofSource, lookup: Lookup), logger: Logger,
        mayReplace: (Proof) -> Bool = { _ in true }
    ) throws(CertsError) -> Bool {
        let outcome: Outcome = state.withLock { state in
            if let other = state.shown[key], !mayReplace(other) { return .refused }
            if state.shown.updateValue(proof, forKey: key) == nil {
                state.sources[source.identity, default: (source.lookup, 0)].count += 1
            }
            guard state.running == nil, !state.isWaiting else { return .shown }
            do throws(CertsError) {
                state.running = try open(address, proofs(state.stopped))
                return .shown
            } catch {
                if error.code == .listenInUse {
                    state.isWaiting = true
                    return .waits
                }
                Self.forget(key, source.identity, &state)
                return .failed(error)
            }
        }
        switch outcome {
        case .refused: return false
        case .shown: return true
        case .waits:
            logger.debug("another process listens on \(address); it is tried again until the port is free")
            Task.detached { await self.waitForPort() }
            return true
        case .failed(let error): throw error
        }
    }

    /// Takes the proof away, if it is `isMeant`; what is not shown is no error. After the last one it stops to listen.
    func hide(_ key: String, source identity: ProofSource, isMeant: (Proof) -> Bool = { _ in true }) async {
        let last: (any StoppableListener)? = state.withLock { state in
            guard let proof = state.shown[key], isMeant(proof) else { return nil }
            Self.forget(key, identity, &state)
            guard state.shown.isEmpty else { return nil }
            defer { state.running = nil }
            state.stopped += 1
            return state.running
        }
        await last?.stop()
    }

    private static func forget(_ key: String, _ identity: ProofSource, _ state: inout State) {
        guard state.shown.removeValue(forKey: key) != nil, let source = state.sources[identity] else { return }
        state.sources[identity] = source.count > 1 ? (source.lookup, source.count - 1) : nil
    }

    /// Between two attempts: between the end of another process's listener and ours nobody answers the CA.
    private static var pause: Duration { .milliseconds(20) }

    private func waitForPort() async {
        while true {
            try? await Task.sleep(for: Self.pause)
            let isDone = state.withLock { state in
                guard !state.shown.isEmpty, state.running == nil else {
                    state.isWaiting = false
                    return true
                }
                // Any failure counts as "taken": the proof is shown already, so there is nobody to tell but the self-check.
                guard let listener = try? open(address, proofs(state.stopped)) else { return false }
                state.running = listener
                state.isWaiting = false
                return true
            }
            if isDone { return }
        }
    }

    /// For one listener; holds `self` weakly: the listener belongs to it, not the other way round.
    ///
    /// - Parameter number: of listeners that were stopped before it. Once it is stopped itself it shows nothing: what is
    ///   seen on it by the self-check would be gone when the CA comes.
    private func proofs(_ number: Int) -> ShownProofs<Proof> {
        ShownProofs(
            here: { [weak self] key in self?.state.withLock { $0.stopped == number ? $0.shown[key] : nil } },
            elsewhere: { [weak self] key in
                let sources = self?.state.withLock { $0.stopped == number ? $0.sources.values.map(\.lookup) : [] }
                for source in sources ?? [] {
                    if let found = await source(key) { return found }
                }
                return nil
            })
    }
}

/// What a listener may show.
struct ShownProofs<Proof: Sendable>: Sendable {
    /// Of this process: there without a wait, so that a CA is answered whatever the tasks of this process do.
    let here: @Sendable (String) -> Proof?
    /// Of other processes.
    let elsewhere: @Sendable (String) async -> Proof?
}

/// The listeners of this process, one for each address, however many issuers show something there.
final class ChallengeListeners: Sendable {
    /// One process has one; tests make more to be several processes.
    static let shared = ChallengeListeners()

    private struct State {
        var http: [SocketAddress: ChallengeListener<String>] = [:]
        var tls: [SocketAddress: ChallengeListener<ALPNProof>] = [:]
    }

    private let state = Mutex(State())

    func http(_ address: SocketAddress) -> ChallengeListener<String> {
        state.withLock { state in
            if let known = state.http[address] { return known }
            let new = ChallengeListener<String>(address) { (address, proofs) throws(CertsError) in
                try HTTP01Responder(address, proofs)
            }
            state.http[address] = new
            return new
        }
    }

    func tls(_ address: SocketAddress) -> ChallengeListener<ALPNProof> {
        state.withLock { state in
            if let known = state.tls[address] { return known }
            let new = ChallengeListener<ALPNProof>(address) { (address, proofs) throws(CertsError) in
                try ALPNResponder(address, proofs)
            }
            state.tls[address] = new
            return new
        }
    }
}
