package import CertsCore
import Foundation
import GRDB

extension Schema {
    static let jobMeasureTable = """
        CREATE TABLE job_measure (
            job TEXT NOT NULL,
            kind TEXT NOT NULL,
            labels TEXT NOT NULL,
            value REAL NOT NULL,
            PRIMARY KEY (job, kind, labels)
        ) STRICT, WITHOUT ROWID;

        ALTER TABLE job_run DROP COLUMN heartbeat_at;
        """
}

extension Database {
    package func jobMeasures() async throws -> [Name: [JobMeasure]] {
        try await read { database in
            var found: [Name: [JobMeasure]] = [:]
            let sql = "SELECT job, kind, labels, value FROM job_measure ORDER BY job, kind, labels"
            for row in try Row.fetchAll(database, sql: sql) {
                // One that an older or newer version knows is not ours to show.
                guard let kind = JobMeasure.Kind(rawValue: try row.decode(atIndex: 1)) else { continue }
                let labels = try StoredJSON.decode(
                    [String: String].self, from: Data(row.decode(String.self, atIndex: 2).utf8))
                found[try Name(row.decode(String.self, atIndex: 0)), default: []].append(
                    JobMeasure(kind, labels, try row.decode(atIndex: 3)))
            }
            return found
        }
    }

    package func save(measures: [JobMeasure], of job: Name) async throws {
        try await write { database in
            try database.execute(sql: "DELETE FROM job_measure WHERE job = ?", arguments: [job.rawValue])
            for measure in measures {
                let labels = String(decoding: try StoredJSON.encode(measure.labels), as: UTF8.self)
                try database.execute(
                    sql: "INSERT OR REPLACE INTO job_measure (job, kind, labels, value) VALUES (?, ?, ?, ?)",
                    arguments: [job.rawValue, measure.kind.rawValue, labels, measure.value])
            }
        }
    }
}
