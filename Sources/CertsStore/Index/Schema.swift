import GRDB

/// The tables of `certs.sqlite`.
///
/// Times are REAL seconds since 1970 (to the microsecond). What a row is looked up or counted by has its own column;
/// the whole value is in `document` (JSON, `StoredJSON`) for rotations and in `packed` (`Packer`) for the inventory.
enum Schema {
    /// `CERT` in ASCII: tells our file from another program's.
    static let applicationID: Int32 = 0x4345_5254

    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1") { database in
            try database.execute(
                sql: """
                    PRAGMA application_id = \(applicationID);

                    CREATE TABLE rotation (
                        id TEXT NOT NULL PRIMARY KEY,
                        certificate TEXT NOT NULL,
                        revision INTEGER NOT NULL,
                        purpose TEXT NOT NULL,
                        outcome TEXT,
                        failed_step TEXT,
                        started_at REAL NOT NULL,
                        ended_at REAL,
                        document BLOB NOT NULL
                    ) STRICT;
                    CREATE INDEX rotation_by_start ON rotation (started_at);
                    CREATE INDEX rotation_by_certificate ON rotation (certificate, started_at);
                    CREATE INDEX rotation_open ON rotation (started_at) WHERE outcome IS NULL;

                    CREATE TABLE certificate (
                        name TEXT NOT NULL PRIMARY KEY,
                        revision INTEGER,
                        due_at REAL,
                        not_after REAL,
                        packed BLOB NOT NULL
                    ) STRICT;
                    CREATE INDEX certificate_by_due ON certificate (due_at, name);

                    CREATE TABLE file (
                        path TEXT NOT NULL PRIMARY KEY,
                        device INTEGER NOT NULL,
                        inode INTEGER NOT NULL,
                        size INTEGER NOT NULL,
                        modified INTEGER NOT NULL,
                        changed INTEGER NOT NULL,
                        problem TEXT,
                        sha256 TEXT,
                        not_after REAL,
                        packed BLOB
                    ) STRICT, WITHOUT ROWID;

                    CREATE TABLE task (
                        name TEXT NOT NULL PRIMARY KEY,
                        next_run_at REAL,
                        last_run_at REAL,
                        last_success_at REAL
                    ) STRICT;

                    CREATE TABLE clock (
                        id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
                        wall REAL NOT NULL,
                        since_boot REAL NOT NULL,
                        boot_id TEXT NOT NULL
                    ) STRICT;
                    """)
        }
        migrator.registerMigration("2") { database in
            try database.execute(
                sql: """
                    ALTER TABLE certificate ADD COLUMN hint_check_at REAL;
                    CREATE INDEX certificate_by_hint_check ON certificate (hint_check_at, name)
                        WHERE hint_check_at IS NOT NULL;
                    """)
        }
        migrator.registerMigration("3") { try $0.execute(sql: jobTables) }
        return migrator
    }
}
