package import CertsCore
package import Foundation
import GRDB

extension Database: Inventory {
    package func states() async throws -> [CertificateState] { try await compactMapStates { $0 } }

    package func compactMapStates<Value: Sendable>(
        _ transform: @escaping @Sendable (CertificateState) throws -> Value?
    ) async throws -> [Value] {
        try await read { try Self.compactMapStates(in: $0, transform) }
    }

    static func compactMapStates<Value>(
        in database: GRDB.Database, _ transform: (CertificateState) throws -> Value?
    ) throws -> [Value] {
        let cursor = try Row.fetchCursor(database, sql: "SELECT packed FROM certificate ORDER BY name")
        var values: [Value] = []
        while let row = try cursor.next() {
            let state = try CertificateState(packed: try row.decode(atIndex: 0))
            if let value = try transform(state) { values.append(value) }
        }
        return values
    }

    package func state(of certificate: Name) async throws -> CertificateState? {
        try await read { database in
            let sql = "SELECT packed FROM certificate WHERE name = ?"
            return try Data.fetchOne(database, sql: sql, arguments: [certificate.rawValue]).map(
                CertificateState.init(packed:))
        }
    }

    package func save(_ state: CertificateState) async throws {
        try await write { try Self.store(state, in: $0) }
    }

    /// Saves many states in one transaction: one sync of the disk for all.
    package func save(_ states: [CertificateState]) async throws {
        guard !states.isEmpty else { return }
        try await write { database in
            for state in states { try Self.store(state, in: database) }
        }
    }

    package func due(by date: Date) async throws -> [Name] {
        try await read { database in
            let sql = "SELECT name FROM certificate WHERE due_at <= ? ORDER BY due_at, name"
            return try String.fetchAll(database, sql: sql, arguments: [date.column]).map { try Name($0) }
        }
    }

    package func hintChecks(by date: Date) async throws -> [Name] {
        try await read { database in
            let sql = "SELECT name FROM certificate WHERE hint_check_at <= ? ORDER BY hint_check_at, name"
            return try String.fetchAll(database, sql: sql, arguments: [date.column]).map { try Name($0) }
        }
    }

    package func nextHintCheck() async throws -> Date? {
        try await read { database in
            let sql = "SELECT min(hint_check_at) FROM certificate WHERE hint_check_at IS NOT NULL"
            return try Double.fetchOne(database, sql: sql).map { Date(timeIntervalSince1970: $0) }
        }
    }

    static func store(_ state: CertificateState, in database: GRDB.Database) throws {
        let sql = """
            INSERT OR REPLACE INTO certificate (name, revision, due_at, not_after, hint_check_at, packed)
            VALUES (?, ?, ?, ?, ?, ?)
            """
        try database.cachedStatement(sql: sql).execute(
            arguments: [
                state.name.rawValue, state.revision, state.dueAt?.column, state.intendedRecord?.notAfter.column,
                state.hintCheck?.at.column, try state.packed(),
            ])
    }
}
