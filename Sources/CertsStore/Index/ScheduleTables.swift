package import CertsCore
import Foundation
import GRDB

extension Database: TaskSchedule {
    package func task(_ name: String) async throws -> TaskRecord? {
        try await read { database in
            let sql =
                "SELECT name, next_run_at, last_run_at, last_success_at, interval, duration FROM task WHERE name = ?"
            return try Row.fetchOne(database, sql: sql, arguments: [name]).map(TaskRecord.init(row:))
        }
    }

    package func tasks() async throws -> [TaskRecord] {
        try await read { database in
            let sql =
                "SELECT name, next_run_at, last_run_at, last_success_at, interval, duration FROM task ORDER BY name"
            return try Row.fetchAll(database, sql: sql).map(TaskRecord.init(row:))
        }
    }

    package func save(_ task: TaskRecord) async throws {
        try await write { database in
            try database.execute(
                sql: """
                    INSERT OR REPLACE INTO task (name, next_run_at, last_run_at, last_success_at, interval, duration)
                    VALUES (?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    task.name, task.nextRunAt?.column, task.lastRunAt?.column, task.lastSuccessAt?.column,
                    task.interval, task.duration,
                ])
        }
    }

    package func lastClockReading() async throws -> ClockReading? {
        try await read { database in
            try Row.fetchOne(database, sql: "SELECT wall, since_boot, boot_id FROM clock").map { row in
                ClockReading(
                    wall: Date(timeIntervalSince1970: try row.decode(atIndex: 0)),
                    sinceBoot: try row.decode(atIndex: 1),
                    bootID: try row.decode(atIndex: 2))
            }
        }
    }

    package func save(_ reading: ClockReading) async throws {
        try await write { database in
            try database.execute(
                sql: "INSERT OR REPLACE INTO clock (id, wall, since_boot, boot_id) VALUES (1, ?, ?, ?)",
                arguments: [reading.wall.column, reading.sinceBoot, reading.bootID])
        }
    }
}

extension TaskRecord {
    fileprivate init(row: Row) throws {
        func date(_ index: Int) throws -> Date? {
            try row.decode(Double?.self, atIndex: index).map { Date(timeIntervalSince1970: $0) }
        }
        self.init(
            name: try row.decode(atIndex: 0), nextRunAt: try date(1), lastRunAt: try date(2),
            lastSuccessAt: try date(3),
            interval: try row.decode(atIndex: 4), duration: try row.decode(atIndex: 5))
    }
}
