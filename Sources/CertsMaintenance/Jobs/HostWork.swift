package import CertsCore

/// Work that is not done in a session of the executor's: on this host, through programs, sockets and files.
package protocol HostWork: Sendable {
    /// What a run would do now; changes nothing.
    ///
    /// - Parameter sample: how many keys to name.
    func preview(_ job: Name, sample: Int, control: JobControl) async throws -> [WorkPreview]
    /// Does it, and ends soon after `control` is over.
    ///
    /// - Throws: what kept it from doing anything; what ended it later is in ``JobExecutor/Done/error``.
    func run(_ job: Name, control: JobControl) async throws -> JobExecutor.Done
    /// Where the lock of the job is held while it runs.
    var lockPlace: LockPlace { get }
}

extension HostWork {
    package var lockPlace: LockPlace { .nowhere }
}

/// In which database a session holds the lock of a job whose work is done by others.
package enum LockPlace: Sendable {
    /// It runs on each host.
    case nowhere
    case declaredDatabase
    /// The one that every server has: the declared one is renamed.
    case administration
}

/// What a run would do now to one kind of things.
package struct WorkPreview: Sendable, Hashable {
    /// The table, the directory, the kind of objects.
    package var subject: String
    /// How many of them would go, or be done.
    package var count: Int
    package var bytes: Int
    /// How many would have to go and cannot.
    package var held: Int
    /// The first of them by name, in the order in which they are done.
    package var keys: [String]
    package var warnings: [String]
    /// Why a run would refuse to do it; then `count` is 0.
    package var refusal: String?

    package init(
        subject: String, count: Int, bytes: Int = 0, held: Int = 0, keys: [String] = [], warnings: [String] = [],
        refusal: String? = nil
    ) {
        self.subject = subject
        self.count = count
        self.bytes = bytes
        self.held = held
        self.keys = keys
        self.warnings = warnings
        self.refusal = refusal
    }
}
