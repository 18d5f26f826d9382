/// The times that a target waits at most; tests make them short.
struct TargetLimits: Sendable {
    /// For one reply of HAProxy's runtime API.
    var reply: Duration = .seconds(10)
    /// For the lock that one host's rotations take in turn.
    var lock: Duration = .seconds(60)
    /// After a hot swap, for endpoints that cannot be connected to.
    var connect: Duration = .seconds(2)
    /// For a reload, where the target's `verifyWithin` is shorter: loading thousands of files takes its time.
    var reload: Duration = .seconds(10)
    /// For which what HAProxy told about the certificates of a list is believed.
    var knownLists: Duration = .seconds(30)
}
