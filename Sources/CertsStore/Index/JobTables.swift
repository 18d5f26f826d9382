package import CertsCore
package import Foundation
import GRDB

extension Schema {
    static let jobTables = """
        CREATE TABLE job (
            name TEXT NOT NULL PRIMARY KEY,
            last_occurrence REAL NOT NULL,
            next_run_at REAL,
            last_success_at REAL,
            backlog INTEGER
        ) STRICT;

        CREATE TABLE job_run (
            id TEXT NOT NULL PRIMARY KEY,
            job TEXT NOT NULL,
            started_at REAL NOT NULL,
            heartbeat_at REAL NOT NULL,
            result TEXT,
            document BLOB NOT NULL
        ) STRICT;
        CREATE INDEX job_run_by_job ON job_run (job, started_at);
        CREATE INDEX job_run_by_start ON job_run (started_at);
        CREATE INDEX job_run_open ON job_run (started_at) WHERE result IS NULL;

        CREATE TABLE job_tally (
            job TEXT NOT NULL,
            result TEXT NOT NULL,
            count INTEGER NOT NULL,
            seconds REAL NOT NULL,
            PRIMARY KEY (job, result)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE job_counter (
            job TEXT NOT NULL,
            kind TEXT NOT NULL,
            subject TEXT NOT NULL,
            value INTEGER NOT NULL,
            PRIMARY KEY (job, kind, subject)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE job_quarantine (
            job TEXT NOT NULL,
            key TEXT NOT NULL,
            reason TEXT NOT NULL,
            failures INTEGER NOT NULL,
            retry_at REAL NOT NULL,
            PRIMARY KEY (job, key)
        ) STRICT, WITHOUT ROWID;
        """
}

extension Database: JobLedger {
    private static let stateColumns = "name, last_occurrence, next_run_at, last_success_at, backlog"

    package func jobStates() async throws -> [JobState] {
        try await read { database in
            try Row.fetchAll(database, sql: "SELECT \(Self.stateColumns) FROM job ORDER BY name").map {
                try JobState(row: $0)
            }
        }
    }

    package func jobState(of job: Name) async throws -> JobState? {
        try await read { database in
            let sql = "SELECT \(Self.stateColumns) FROM job WHERE name = ?"
            return try Row.fetchOne(database, sql: sql, arguments: [job.rawValue]).map { try JobState(row: $0) }
        }
    }

    package func plan(_ jobs: [JobPlan]) async throws {
        try await write { database in
            for plan in jobs {
                try database.execute(
                    sql: """
                        INSERT INTO job (name, last_occurrence, next_run_at) VALUES (?, ?, ?) ON CONFLICT DO UPDATE
                        SET last_occurrence = excluded.last_occurrence, next_run_at = excluded.next_run_at
                        """, arguments: [plan.job.rawValue, plan.lastOccurrence.column, plan.nextRunAt?.column])
            }
        }
    }

    package func note(_ job: Name, successAt: Date?, backlog: Int?, now: Date) async throws {
        try await write { database in
            try database.execute(
                sql: """
                    INSERT INTO job (name, last_occurrence, last_success_at, backlog) VALUES (?, ?, ?, ?)
                    ON CONFLICT DO UPDATE SET last_success_at = coalesce(excluded.last_success_at, last_success_at),
                        backlog = coalesce(excluded.backlog, backlog)
                    """, arguments: [job.rawValue, now.column, successAt?.column, backlog])
        }
    }

    package func begin(_ run: JobRun) async throws {
        try await write { try Self.store(run, in: $0) }
    }

    package func finish(_ run: JobRun) async throws {
        try await write { database in
            // A run that is already closed is not counted twice.
            let isClosed = try Bool.fetchOne(
                database, sql: "SELECT result IS NOT NULL FROM job_run WHERE id = ?", arguments: [run.id])
            if isClosed == true { return }
            try Self.store(run, in: database)
            guard let result = run.result else { return }
            let seconds = max(0, (run.endedAt ?? run.startedAt).timeIntervalSince(run.startedAt))
            try database.execute(
                sql: """
                    INSERT INTO job_tally (job, result, count, seconds) VALUES (?, ?, 1, ?)
                    ON CONFLICT DO UPDATE SET count = count + 1, seconds = seconds + excluded.seconds
                    """, arguments: [run.job.rawValue, result.rawValue, seconds])
            for counter in run.counts where counter.value > 0 {
                try database.execute(
                    sql: """
                        INSERT INTO job_counter (job, kind, subject, value) VALUES (?, ?, ?, ?)
                        ON CONFLICT DO UPDATE SET value = value + excluded.value
                        """,
                    arguments: [counter.job.rawValue, counter.kind.rawValue, counter.table, counter.value])
            }
        }
    }

    private static func store(_ run: JobRun, in database: GRDB.Database) throws {
        try database.execute(
            sql: """
                INSERT OR REPLACE INTO job_run (id, job, started_at, result, document) VALUES (?, ?, ?, ?, ?)
                """,
            arguments: [
                run.id, run.job.rawValue, run.startedAt.column, run.result?.rawValue, try StoredJSON.encode(run),
            ])
    }

    package func openRuns() async throws -> [JobRun] {
        try await read { database in
            let sql = "SELECT document FROM job_run WHERE result IS NULL ORDER BY started_at, id"
            return try Data.fetchAll(database, sql: sql).map { try StoredJSON.decode(JobRun.self, from: $0) }
        }
    }

    package func runs(of job: Name?, limit: Int) async throws -> [JobRun] {
        try await read { database in
            let condition = job == nil ? "" : "WHERE job = ?"
            let sql = "SELECT document FROM job_run \(condition) ORDER BY started_at DESC, id DESC LIMIT ?"
            let arguments: StatementArguments = job.map { [$0.rawValue, limit] } ?? [limit]
            return try Data.fetchAll(database, sql: sql, arguments: arguments).map {
                try StoredJSON.decode(JobRun.self, from: $0)
            }
        }
    }

    package func jobTallies() async throws -> [JobTally] {
        try await read { database in
            try Row.fetchAll(database, sql: "SELECT job, result, count, seconds FROM job_tally ORDER BY job, result")
                .compactMap { row in
                    guard let result = JobRun.Result(rawValue: try row.decode(atIndex: 1)) else { return nil }
                    return JobTally(
                        job: try Name(row.decode(String.self, atIndex: 0)), result: result,
                        count: try row.decode(atIndex: 2), seconds: try row.decode(atIndex: 3))
                }
        }
    }

    package func jobCounters() async throws -> [JobCounter] {
        try await read { database in
            try Row.fetchAll(
                database, sql: "SELECT job, kind, subject, value FROM job_counter ORDER BY job, kind, subject"
            ).compactMap { row in
                guard let kind = JobCounter.Kind(rawValue: try row.decode(atIndex: 1)) else { return nil }
                return JobCounter(
                    job: try Name(row.decode(String.self, atIndex: 0)), kind: kind, table: try row.decode(atIndex: 2),
                    value: try row.decode(atIndex: 3))
            }
        }
    }

    package func forgetRuns(before date: Date) async throws {
        try await write { database in
            try database.execute(
                sql: "DELETE FROM job_run WHERE started_at < ? AND result IS NOT NULL", arguments: [date.column])
        }
    }

    package func quarantine(of job: Name) async throws -> [QuarantinedRow] {
        try await read { database in
            let sql = "SELECT key, reason, failures, retry_at FROM job_quarantine WHERE job = ? ORDER BY key"
            return try Row.fetchAll(database, sql: sql, arguments: [job.rawValue]).map { row in
                QuarantinedRow(
                    key: try row.decode(atIndex: 0), reason: try row.decode(atIndex: 1),
                    failures: try row.decode(atIndex: 2),
                    retryAt: Date(timeIntervalSince1970: try row.decode(atIndex: 3)))
            }
        }
    }

    package func save(_ rows: [QuarantinedRow], of job: Name) async throws {
        try await write { database in
            try database.execute(sql: "DELETE FROM job_quarantine WHERE job = ?", arguments: [job.rawValue])
            for row in rows {
                try database.execute(
                    sql: """
                        INSERT INTO job_quarantine (job, key, reason, failures, retry_at) VALUES (?, ?, ?, ?, ?)
                        """, arguments: [job.rawValue, row.key, row.reason, row.failures, row.retryAt.column])
            }
        }
    }
}

extension JobState {
    fileprivate init(row: Row) throws {
        func date(_ index: Int) throws -> Date? {
            try row.decode(Double?.self, atIndex: index).map { Date(timeIntervalSince1970: $0) }
        }
        self.init(
            job: try Name(row.decode(String.self, atIndex: 0)), lastOccurrence: try date(1) ?? .distantPast,
            nextRunAt: try date(2), lastSuccessAt: try date(3), backlog: try row.decode(atIndex: 4))
    }
}
