package import CertsCore
package import Foundation
import GRDB

extension Schema {
    static let windowTables = """
        CREATE TABLE maintenance_window (
            id TEXT NOT NULL PRIMARY KEY,
            type TEXT NOT NULL,
            planned_at REAL,
            opened_at REAL NOT NULL,
            ends_at REAL NOT NULL,
            closed_at REAL,
            opened_by TEXT NOT NULL,
            source TEXT NOT NULL,
            runs_tasks INTEGER NOT NULL,
            message TEXT
        ) STRICT;
        CREATE INDEX maintenance_window_by_start ON maintenance_window (opened_at);
        CREATE INDEX maintenance_window_open ON maintenance_window (opened_at) WHERE closed_at IS NULL;
        CREATE UNIQUE INDEX maintenance_window_by_time ON maintenance_window (type, planned_at)
            WHERE source = 'timer';

        CREATE TABLE maintenance_event (
            number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
            window TEXT NOT NULL,
            at REAL NOT NULL,
            step TEXT NOT NULL,
            result TEXT NOT NULL,
            subject TEXT NOT NULL,
            detail TEXT NOT NULL
        ) STRICT;
        CREATE INDEX maintenance_event_by_window ON maintenance_event (window, number);

        CREATE TABLE maintenance_lease (
            id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
            window TEXT NOT NULL,
            taken_at REAL NOT NULL,
            must_be_off_by REAL NOT NULL,
            is_handed_over INTEGER NOT NULL
        ) STRICT;
        """
}

extension Database: WindowLedger {
    private static let windowColumns = """
        id, type, planned_at, opened_at, ends_at, closed_at, opened_by, source, runs_tasks, message
        """

    @discardableResult
    package func open(_ window: WindowRecord) async throws -> Bool {
        try await write { database in
            try database.execute(
                sql: """
                    INSERT INTO maintenance_window (\(Self.windowColumns)) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                    ON CONFLICT DO NOTHING
                    """,
                arguments: [
                    window.id, window.type.rawValue, window.plannedAt?.column, window.openedAt.column,
                    window.endsAt.column, window.closedAt?.column, window.openedBy, window.source.rawValue,
                    window.runsTasks, window.message,
                ])
            return database.changesCount > 0
        }
    }

    package func close(window id: String, at date: Date) async throws {
        try await write { database in
            try database.execute(
                sql: "UPDATE maintenance_window SET closed_at = ? WHERE id = ? AND closed_at IS NULL",
                arguments: [date.column, id])
        }
    }

    package func openWindows() async throws -> [WindowRecord] {
        try await windows("WHERE closed_at IS NULL ORDER BY opened_at, id", [])
    }

    package func windows(limit: Int) async throws -> [WindowRecord] {
        try await windows("ORDER BY opened_at DESC, id LIMIT ?", [max(0, limit)])
    }

    package func windows(from start: Date, to end: Date) async throws -> [WindowRecord] {
        try await windows(
            "WHERE opened_at >= ? AND opened_at < ? ORDER BY opened_at, id", [start.column, end.column])
    }

    package func window(_ id: String) async throws -> WindowRecord? {
        try await windows("WHERE id = ?", [id]).first
    }

    private func windows(_ condition: String, _ arguments: StatementArguments) async throws -> [WindowRecord] {
        try await read { database in
            let sql = "SELECT \(Self.windowColumns) FROM maintenance_window \(condition)"
            return try Row.fetchAll(database, sql: sql, arguments: arguments).compactMap { try WindowRecord(row: $0) }
        }
    }

    package func add(_ event: WindowEvent) async throws {
        try await write { database in
            try database.execute(
                sql: """
                    INSERT INTO maintenance_event (window, at, step, result, subject, detail) VALUES (?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    event.window, event.at.column, event.step.rawValue, event.result.rawValue, event.subject,
                    event.detail,
                ])
        }
    }

    package func events(of window: String) async throws -> [WindowEvent] {
        try await read { database in
            let sql = """
                SELECT at, step, result, subject, detail FROM maintenance_event WHERE window = ? ORDER BY number
                """
            return try Row.fetchAll(database, sql: sql, arguments: [window]).compactMap { row in
                // One that a newer version knows is not ours to tell.
                guard let step = WindowEvent.Step(rawValue: try row.decode(atIndex: 1)),
                    let result = WindowEvent.Result(rawValue: try row.decode(atIndex: 2))
                else { return nil }
                return WindowEvent(
                    window: window, at: Date(timeIntervalSince1970: try row.decode(atIndex: 0)), step: step,
                    result: result, subject: try row.decode(atIndex: 3), detail: try row.decode(atIndex: 4))
            }
        }
    }

    package func lease() async throws -> ModeLease? {
        try await read { database in
            let sql = "SELECT window, taken_at, must_be_off_by, is_handed_over FROM maintenance_lease"
            return try Row.fetchOne(database, sql: sql).map { row in
                ModeLease(
                    window: try row.decode(atIndex: 0),
                    takenAt: Date(timeIntervalSince1970: try row.decode(atIndex: 1)),
                    mustBeOffBy: Date(timeIntervalSince1970: try row.decode(atIndex: 2)),
                    isHandedOver: try row.decode(atIndex: 3))
            }
        }
    }

    package func take(_ lease: ModeLease) async throws {
        try await write { database in
            let sql = "SELECT window FROM maintenance_lease"
            if let other = try String.fetchOne(database, sql: sql) {
                throw CertsError(
                    .jobRefused, "the maintenance mode is still held by the window \(other)", subject: other,
                    hint: "close it with `certs window close`", retry: .later)
            }
            try database.execute(
                sql: """
                    INSERT INTO maintenance_lease (id, window, taken_at, must_be_off_by, is_handed_over)
                    VALUES (1, ?, ?, ?, ?)
                    """,
                arguments: [lease.window, lease.takenAt.column, lease.mustBeOffBy.column, lease.isHandedOver])
        }
    }

    package func change(_ lease: ModeLease) async throws {
        try await write { database in
            try database.execute(
                sql: "UPDATE maintenance_lease SET must_be_off_by = ?, is_handed_over = ? WHERE window = ?",
                arguments: [lease.mustBeOffBy.column, lease.isHandedOver, lease.window])
        }
    }

    package func drop(leaseOf window: String) async throws {
        try await write { database in
            try database.execute(sql: "DELETE FROM maintenance_lease WHERE window = ?", arguments: [window])
        }
    }

    package func runs(from start: Date, to end: Date) async throws -> [JobRun] {
        try await read { database in
            let sql = """
                SELECT document FROM job_run WHERE started_at >= ? AND started_at < ? ORDER BY started_at, id
                """
            return try Data.fetchAll(database, sql: sql, arguments: [start.column, end.column]).map {
                try StoredJSON.decode(JobRun.self, from: $0)
            }
        }
    }

    package func rotations(from start: Date, to end: Date) async throws -> [Rotation] {
        try await read { database in
            let sql = """
                SELECT document FROM rotation WHERE started_at >= ? AND started_at < ? ORDER BY started_at, id
                """
            return try Data.fetchAll(database, sql: sql, arguments: [start.column, end.column]).map {
                try StoredJSON.decode(Rotation.self, from: $0)
            }
        }
    }
}

extension WindowRecord {
    /// `nil`: of a type that a newer version knows.
    fileprivate init?(row: Row) throws {
        func date(_ index: Int) throws -> Date? {
            try row.decode(Double?.self, atIndex: index).map { Date(timeIntervalSince1970: $0) }
        }
        guard let type = WindowType(rawValue: try row.decode(atIndex: 1)),
            let source = Source(rawValue: try row.decode(atIndex: 7)), let openedAt = try date(3),
            let endsAt = try date(4)
        else { return nil }
        self.init(
            id: try row.decode(atIndex: 0), type: type, plannedAt: try date(2), openedAt: openedAt, endsAt: endsAt,
            closedAt: try date(5), openedBy: try row.decode(atIndex: 6), source: source,
            runsTasks: try row.decode(atIndex: 8), message: try row.decode(atIndex: 9))
    }
}
