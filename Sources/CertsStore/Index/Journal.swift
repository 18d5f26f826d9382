package import CertsCore
package import Foundation
import GRDB

extension Database: RotationJournal {
    package func record(_ rotation: Rotation) async throws {
        try await write { try Self.store(rotation, in: $0) }
    }

    package func openRotations() async throws -> [Rotation] {
        try await read { database in
            let sql = "SELECT document FROM rotation WHERE outcome IS NULL ORDER BY started_at, id"
            return try Data.fetchAll(database, sql: sql).map { try StoredJSON.decode(Rotation.self, from: $0) }
        }
    }

    package func openRotation(of certificate: Name) async throws -> Rotation? {
        try await read { database in
            let sql = """
                SELECT document FROM rotation WHERE certificate = ? AND outcome IS NULL ORDER BY started_at, id LIMIT 1
                """
            return try Data.fetchOne(database, sql: sql, arguments: [certificate.rawValue]).map {
                try StoredJSON.decode(Rotation.self, from: $0)
            }
        }
    }

    package func close(_ rotation: Rotation, state: CertificateState) async throws {
        try await write { database in
            try Self.store(rotation, in: database)
            try Self.store(state, in: database)
        }
    }

    package func history(of certificate: Name?, limit: Int) async throws -> [Rotation] {
        try await read { database in
            let condition = certificate == nil ? "" : "WHERE certificate = ?"
            let sql = "SELECT document FROM rotation \(condition) ORDER BY started_at DESC, id DESC LIMIT ?"
            var arguments: StatementArguments = certificate.map { [$0.rawValue] } ?? []
            arguments += [max(0, limit)]
            return try Data.fetchAll(database, sql: sql, arguments: arguments).map {
                try StoredJSON.decode(Rotation.self, from: $0)
            }
        }
    }

    package func tallies() async throws -> [RotationTally] {
        try await read { database in
            let sql = """
                SELECT certificate, purpose, outcome, failed_step, count(*) FROM rotation
                GROUP BY certificate, purpose, outcome, failed_step ORDER BY certificate, purpose, outcome, failed_step
                """
            return try Row.fetchAll(database, sql: sql).map { row in
                guard let purpose = Rotation.Purpose(rawValue: try row.decode(atIndex: 1)) else {
                    throw Unpacker.Malformed()
                }
                let outcome: Rotation.Outcome? = try Self.word(try row.decode(atIndex: 2))
                let step: Rotation.Step? = try Self.word(try row.decode(atIndex: 3))
                return RotationTally(
                    certificate: try Name(try row.decode(atIndex: 0)), purpose: purpose, outcome: outcome,
                    failedStep: step,
                    count: try row.decode(atIndex: 4))
            }
        }
    }

    package func deployDurations(upTo bounds: [TimeInterval]) async throws -> DurationTally {
        try await read { database in
            let counts = bounds.map { _ in ", count(*) FILTER (WHERE deploy_seconds <= ?)" }.joined()
            let sql = """
                SELECT count(*), total(deploy_seconds)\(counts) FROM rotation WHERE deploy_seconds IS NOT NULL
                """
            guard let row = try Row.fetchOne(database, sql: sql, arguments: StatementArguments(bounds)) else {
                return DurationTally(bounds: bounds)
            }
            return DurationTally(
                bounds: bounds, counts: try bounds.indices.map { try row.decode(atIndex: $0 + 2) },
                count: try row.decode(atIndex: 0), sum: try row.decode(atIndex: 1))
        }
    }

    private static func word<Value: RawRepresentable>(_ text: String?) throws -> Value? where Value.RawValue == String {
        guard let text else { return nil }
        guard let value = Value(rawValue: text) else { throw Unpacker.Malformed() }
        return value
    }

    static func store(_ rotation: Rotation, in database: GRDB.Database) throws {
        try database.execute(
            sql: """
                INSERT INTO rotation
                    (id, certificate, revision, purpose, outcome, failed_step, started_at, ended_at, document,
                     deploy_seconds)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (id) DO UPDATE SET outcome = excluded.outcome, failed_step = excluded.failed_step,
                    ended_at = excluded.ended_at, document = excluded.document,
                    deploy_seconds = excluded.deploy_seconds
                """,
            arguments: [
                rotation.id, rotation.certificate.rawValue, rotation.revision, rotation.purpose.rawValue,
                rotation.outcome?.rawValue,
                rotation.failure?.step.rawValue, rotation.startedAt.column, rotation.endedAt?.column,
                try StoredJSON.encode(rotation), rotation.deployDuration,
            ])
    }
}
