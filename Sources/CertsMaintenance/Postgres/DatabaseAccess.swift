import CertsCore
import Foundation

/// How work reaches the declared server: sessions of its own.
struct DatabaseAccess: Sendable {
    let declaration: DatabaseDeclaration
    /// Reads a file that holds a secret.
    let secret: @Sendable (String) throws -> Secret

    /// Every server has it. Who makes, renames or drops a database is connected to this one.
    static let administration = "postgres"

    /// For messages: `messaging@/run/postgresql`.
    var place: String { "\(declaration.name)@\(declaration.host)" }

    func password() throws -> Secret? { try declaration.passwordFile.map { try secret($0) } }

    /// Blocking.
    ///
    /// - Parameter database: `nil`: the declared one.
    func open(_ application: String, to database: String? = nil, _ control: JobControl) throws -> PostgresSession {
        var declaration = declaration
        if let database { declaration.name = database }
        do {
            return try PostgresSession(
                declaration, password: try password(), application: application, interrupt: control.interrupt)
        } catch let failure as PostgresFailure {
            throw failure.error("cannot connect", subject: "\(declaration.name)@\(declaration.host)")
        }
    }
}
