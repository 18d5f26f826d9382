import CertsCore
import CertsEngine

/// The exit codes of DESIGN §7. Thrown to end a command that has already said what happened.
struct ExitStatus: Error, RawRepresentable, Equatable {
    let rawValue: Int32

    static let done = ExitStatus(rawValue: 0)
    static let failed = ExitStatus(rawValue: 1)
    static let partly = ExitStatus(rawValue: 3)
    static let notFound = ExitStatus(rawValue: 4)
    static let refused = ExitStatus(rawValue: 5)
    static let rolledBack = ExitStatus(rawValue: 6)
    /// `check --exit-code` only.
    static let due = ExitStatus(rawValue: 10)
    static let expiredOrWronglyServed = ExitStatus(rawValue: 11)
}

extension ExitStatus {
    init(_ error: CertsError) {
        switch error.code {
        case .nameUnknown, .certificateMissing: self = .notFound
        case .lockHeld, .jobRefused, .clockStepped, .backoff, .stateInsecure, .targetForeignTransaction: self = .refused
        case .rolledBack: self = .rolledBack
        default: self = .failed
        }
    }

    init(_ result: RotationEngine.Result) {
        switch result {
        case .waiting: self = .done
        // Due, and not done: a timer must not call that a success, unless it is the issuer's turn.
        case .skipped(let item): self = item.due && item.blockedUntil != nil && !item.isWaiting ? .refused : .done
        case .failed(_, let error): self = ExitStatus(error)
        case .rotated(let rotation):
            switch rotation.outcome {
            case .committed: self = .done
            case .rolledBack: self = .rolledBack
            default: self = rotation.failure.map { ExitStatus(code: $0.code) } ?? .failed
            }
        }
    }

    private init(code: CertsError.Code) {
        self = ExitStatus(CertsError(code, ""))
    }

    /// The code of a run over several certificates: the common one, or ``partly`` when some went well.
    init(_ results: [RotationEngine.Result]) {
        let all = Set(results.map { ExitStatus($0).rawValue })
        if all.isEmpty || all == [0] {
            self = .done
        } else if all.contains(0) {
            self = .partly
        } else {
            self = all.count == 1 ? ExitStatus(rawValue: all.first ?? 1) : .failed
        }
    }
}
