import CertsCore
import Foundation

/// A session that stays open while programs run beside it: used by one thread at a time.
final class SharedSession: @unchecked Sendable {
    // @unchecked: the session is only touched under the lock.
    private let lock = NSLock()
    private var session: PostgresSession?
    private let what: String

    /// - Parameter what: begins the message of a failure: `the restore failed`.
    private init(_ session: PostgresSession, _ what: String) {
        self.session = session
        self.what = what
    }

    /// - Parameter database: `nil`: the declared one.
    static func open(
        _ access: DatabaseAccess, _ application: String, to database: String? = nil, what: String, _ control: JobControl
    ) async throws -> SharedSession {
        try await JobExecutor.pool.run {
            SharedSession(try access.open(application, to: database, control), what)
        }
    }

    /// Runs `body` on a thread that may block.
    ///
    /// - Throws: what the server says as a ``CertsError``.
    @discardableResult
    func run<Value: Sendable>(
        _ body: @escaping @Sendable (PostgresSession) throws -> Value
    ) async throws -> Value {
        try await JobExecutor.pool.run { [self] in
            try lock.withLock {
                guard let session else { throw CertsError(.internal, "the session is closed") }
                do {
                    return try body(session)
                } catch let failure as PostgresFailure {
                    throw failure.error(what, subject: session.place)
                }
            }
        }
    }

    /// Ends it, and with it its transaction and its locks.
    func close() { lock.withLock { session = nil } }
}
