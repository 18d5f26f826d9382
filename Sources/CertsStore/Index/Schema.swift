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
        migrator.registerMigration("3") { database in
            try database.execute(
                sql: """
                    ALTER TABLE file ADD COLUMN source TEXT;
                    ALTER TABLE file ADD COLUMN is_settled INTEGER NOT NULL DEFAULT 0;
                    ALTER TABLE file ADD COLUMN digest BLOB NOT NULL DEFAULT x'';
                    ALTER TABLE file ADD COLUMN chain_not_after REAL;
                    ALTER TABLE file ADD COLUMN chain_valid INTEGER;

                    CREATE TABLE watched_endpoint (
                        label TEXT NOT NULL PRIMARY KEY,
                        address TEXT NOT NULL,
                        problem TEXT,
                        chain_not_after REAL,
                        chain_valid INTEGER,
                        stapled TEXT,
                        staple_next_update REAL,
                        observed_at REAL NOT NULL,
                        packed BLOB
                    ) STRICT;

                    CREATE TABLE watch_source (
                        name TEXT NOT NULL PRIMARY KEY,
                        is_up INTEGER NOT NULL,
                        problem TEXT,
                        looked_at REAL NOT NULL
                    ) STRICT;

                    CREATE TABLE watch_error (
                        source TEXT NOT NULL,
                        reason TEXT NOT NULL,
                        count INTEGER NOT NULL,
                        PRIMARY KEY (source, reason)
                    ) STRICT;

                    ALTER TABLE task ADD COLUMN interval REAL;
                    ALTER TABLE task ADD COLUMN duration REAL;

                    ALTER TABLE rotation ADD COLUMN deploy_seconds REAL;
                    """)
        }
        migrator.registerMigration("4") { database in
            try database.execute(sql: notifications)
        }
        migrator.registerMigration("5") { try $0.execute(sql: jobTables) }
        migrator.registerMigration("6") { try $0.execute(sql: jobMeasureTable) }
        migrator.registerMigration("7") { try $0.execute(sql: windowTables) }
        migrator.registerMigration("8") { try $0.execute(sql: notificationChanges) }
        return migrator
    }

    /// What each channel was told, what it is still to be told, and how it is doing.
    private static let notifications = """
        CREATE TABLE told (
            channel TEXT NOT NULL,
            certificate TEXT NOT NULL,
            troubles TEXT NOT NULL,
            PRIMARY KEY (channel, certificate)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE message (
            channel TEXT NOT NULL,
            kind TEXT NOT NULL,
            document BLOB NOT NULL,
            told BLOB NOT NULL,
            attempts INTEGER NOT NULL,
            made_at REAL NOT NULL,
            next_attempt_at REAL NOT NULL,
            PRIMARY KEY (channel, kind)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE channel (
            name TEXT NOT NULL PRIMARY KEY,
            failures INTEGER NOT NULL DEFAULT 0,
            consecutive_failures INTEGER NOT NULL DEFAULT 0,
            sent INTEGER NOT NULL DEFAULT 0,
            last_success_at REAL,
            last_failure_at REAL,
            last_error TEXT,
            digest_at REAL
        ) STRICT, WITHOUT ROWID;
        """

    /// When a configuration last had a channel; which message of a kind waits; how often something changed that may be news.
    private static let notificationChanges = """
        ALTER TABLE channel ADD COLUMN declared_at REAL;
        ALTER TABLE message ADD COLUMN id TEXT NOT NULL DEFAULT '';
        UPDATE message SET id = json_extract(CAST(document AS TEXT), '$.id');

        CREATE TABLE notification_change (
            id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
            count INTEGER NOT NULL
        ) STRICT;
        INSERT INTO notification_change (id, count) VALUES (1, 0);
        CREATE TRIGGER certificate_inserted AFTER INSERT ON certificate
            BEGIN UPDATE notification_change SET count = count + 1; END;
        CREATE TRIGGER certificate_updated AFTER UPDATE ON certificate
            BEGIN UPDATE notification_change SET count = count + 1; END;
        CREATE TRIGGER certificate_deleted AFTER DELETE ON certificate
            BEGIN UPDATE notification_change SET count = count + 1; END;
        CREATE TRIGGER message_deleted AFTER DELETE ON message
            BEGIN UPDATE notification_change SET count = count + 1; END;
        """
}
