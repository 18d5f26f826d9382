/// The durable files of the issuers, below the state directory: `authorities/ISSUER/`, `accounts/ISSUER/`,
/// `handoff/CERTIFICATE/`. All of them are 0600; implemented in CertsStore.
package protocol IssuerFiles: Sendable {
    /// The contents; `nil` when the file is not there. Bounded in size.
    func read(_ file: String, of owner: Name, in area: IssuerArea) async throws -> Secret?
    /// Writes the file durably, whole or not at all.
    func write(_ contents: Secret, to file: String, of owner: Name, in area: IssuerArea) async throws
    /// Removes the file, if it is there.
    func remove(_ file: String, of owner: Name, in area: IssuerArea) async throws
    /// Takes the lock of one owner's files; waits a little for another process.
    func lock(_ owner: Name, in area: IssuerArea) async throws -> any HeldLock
}

package enum IssuerArea: String, Sendable, CaseIterable {
    case authorities, accounts, handoff
}
