import CertsCore
import CertsMaintenance
import CertsTesting
import Foundation
import Testing

@Suite(.timeLimit(.minutes(10))) struct RestoreTests {
    @Test(arguments: [(DatabaseBackup.Format.custom, 1), (.directory, 2)])
    func aBackupIsProvenByARestoreAndTheScratchIsGone(format: DatabaseBackup.Format, parallel: Int) async throws {
        var scene = try await BackupScene.make()
        scene.backup.format = format
        scene.backup.parallel = parallel
        let entry = try await scene.backedUp(-600)
        let done = try await scene.run(.testRestore(RestoreTest()))
        let record = try #require(try scene.catalogue.entries().first?.test)
        #expect(record.differences == [] && record.seconds > 0 && (590...900).contains(record.age))
        #expect(try scene.catalogue.entry(entry.name).isProven)
        #expect(done.measures?.first { $0.kind == .restoreTestSeconds }?.value == record.seconds)
        #expect(done.measures?.first { $0.kind == .restoreTestAge }?.value == record.age)
        #expect(done.measures?.contains { $0.kind == .restoreTestSuccess } == true)
        #expect(try await scene.messenger.count("messages") == 2000)
        #expect(try scene.names.filter { $0.hasPrefix(".compare") || $0.hasPrefix(".passfile") }.isEmpty)
    }

    @Test func whatIsWrittenDuringTheDumpDoesNotMakeItAnother() async throws {
        let scene = try await BackupScene.make()
        let writer = Task { [messenger = scene.messenger] in
            var number = 100_000
            while !Task.isCancelled {
                number += 1
                try await messenger.sql(
                    """
                    INSERT INTO messages VALUES (\(number), 1, 'new'); DELETE FROM messages WHERE message_id = \(number - 99000);
                    INSERT INTO user_sessions (user_id) VALUES (1)
                    """)
            }
        }
        try await scene.run()
        writer.cancel()
        _ = await writer.result
        try await scene.run(.testRestore(RestoreTest()))
        #expect(try scene.catalogue.entries().first?.isProven == true)
    }

    @Test(arguments: DatabaseBackup.Format.allCases)
    func aFlippedBitIsFoundWhereverItIs(format: DatabaseBackup.Format) async throws {
        var scene = try await BackupScene.make()
        scene.backup.format = format
        let entry = try await scene.backedUp()
        let files = (entry.manifest?.files.map(\.path) ?? []) + ["manifest.json", "SHA256SUMS"]
        var generator = SystemRandomNumberGenerator()
        for file in files {
            let path = "\(entry.path)/\(file)"
            let size = try #require(
                try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int)
            guard size > 0 else { continue }
            let count = file.hasPrefix("database") ? 6 : 3
            for _ in 0..<count {
                let (offset, bit) = (Int.random(in: 0..<size, using: &generator), Int.random(in: 0..<8))
                try flip(path, at: offset, bit: bit)
                let seen = try scene.catalogue.entries().first
                let error = await failure {
                    if let seen { try await scene.catalogue.verify(seen, scene.control()) }
                }
                // A manifest that says another database is not listed as one of ours at all.
                #expect(seen == nil || error?.code == .jobFailed, "\(file) at \(offset), bit \(bit)")
                try flip(path, at: offset, bit: bit)
            }
        }
        try await scene.catalogue.verify(try scene.catalogue.entry(nil), scene.control())
        let archive = format == .custom ? "database.dump" : "database/toc.dat"
        try flip("\(entry.path)/\(archive)", at: 100)
        let error = await failure { try await scene.run(.testRestore(RestoreTest())) }
        #expect(error?.code == .jobFailed && error?.description.contains("damaged") == true, "\(error as Any)")
        #expect(try scene.catalogue.entries().map(\.isGood) == [false])
        let none = await failure { _ = try scene.catalogue.entry(nil) }
        #expect(none?.code == .nameUnknown)
    }

    @Test func aTruncatedBackupIsSeenAtAGlance() async throws {
        let scene = try await BackupScene.make()
        let entry = try await scene.backedUp()
        let dump = entry.path + "/database.dump"
        try Tool.run("truncate", "-s", "-2000", dump)
        // The table of contents alone is still fine: that is why it is not what we look at.
        #expect(try Tool.run("pg_restore", "-l", dump).status == 0)
        let seen = try #require(try scene.catalogue.entries().first)
        #expect(!seen.isGood && seen.damage?.contains("bytes instead of") == true)
        let error = await failure {
            try await scene.run(
                .restore(DatabaseRestore(backup: entry.name, keepAs: "before_\(scene.messenger.database)")))
        }
        #expect(error?.code == .jobRefused && error?.message.contains("damaged") == true)
        #expect(try await scene.messenger.count("messages") == 2000)
    }

    @Test func theTestSaysWhatDiffers() async throws {
        let scene = try await BackupScene.make()
        let first = try await scene.backedUp(-3600)
        try await scene.messenger.sql(
            """
            DELETE FROM messages WHERE message_id = 7; UPDATE users SET last_seen = now() WHERE user_id = 3;
            DROP TABLE temp_sessions; DROP INDEX messages_expiry; INSERT INTO message_media DEFAULT VALUES;
            DROP EXTENSION pgcrypto; SELECT lo_unlink(oid) FROM pg_largeobject_metadata; CREATE TABLE newer (id int);
            """)
        let second = try await scene.backedUp()
        // The dump of one under the name of the other, with digests that fit.
        for file in ["database.dump"] {
            try FileManager.default.removeItem(atPath: "\(first.path)/\(file)")
            try FileManager.default.copyItem(atPath: "\(second.path)/\(file)", toPath: "\(first.path)/\(file)")
        }
        let size = try #require(second.manifest?.files.first { $0.path == "database.dump" }?.bytes)
        var manifest = try #require(first.manifest)
        for index in manifest.files.indices where manifest.files[index].path == "database.dump" {
            manifest.files[index].bytes = size
        }
        try StoredJSON.encode(manifest).write(to: URL(filePath: first.path + "/manifest.json"))
        try scene.reseal(first)
        let error = await failure { try await scene.run(.testRestore(RestoreTest(backup: first.name))) }
        #expect(error?.code == .jobFailed)
        let told = try #require(try scene.catalogue.entry(first.name).test).differences.joined(separator: "\n")
        for words in [
            "the table public.messages has 1999 rows instead of 2000", "the table public.users has other rows",
            "the table public.temp_sessions is missing", "there is a table public.newer more",
            "the sequence public.message_media_id_seq stands at 301 instead of 300",
            "the extension pgcrypto is missing", "there are 0 large objects instead of 1", "the schema lacks: ",
        ] {
            #expect(told.contains(words), "\(words) in \(told)")
        }
        #expect(try scene.catalogue.entry(first.name).isGood == false)
        #expect(try scene.catalogue.entry(nil).name == second.name)
        let refused = await failure {
            try await scene.run(
                .restore(DatabaseRestore(backup: first.name, keepAs: "before_\(scene.messenger.database)")))
        }
        #expect(refused?.code == .jobRefused)
    }

    @Test func aRestoreTakesThePlaceOfTheLiveDatabaseAndKeepsIt() async throws {
        let scene = try await BackupScene.make()
        let live = scene.messenger.database
        try await scene.messenger.sql(
            """
            CREATE ROLE app_\(live) LOGIN; REVOKE CONNECT ON DATABASE \(live) FROM PUBLIC;
            GRANT CONNECT ON DATABASE \(live) TO app_\(live); ALTER DATABASE \(live) SET search_path = "$user", public, audit;
            ALTER DATABASE \(live) SET work_mem = '7MB'; COMMENT ON DATABASE \(live) IS 'it''s live';
            ALTER DATABASE \(live) CONNECTION LIMIT 77; ALTER TABLE media OWNER TO app_\(live);
            GRANT SELECT ON messages TO app_\(live)
            """)
        let facts = """
            SELECT (SELECT array_agg(a::text ORDER BY a::text)::text FROM unnest(datacl) a), datconnlimit, shobj_description(oid, 'pg_database'),
                (SELECT array_agg(c ORDER BY c)::text FROM pg_db_role_setting, unnest(setconfig) c WHERE setdatabase = d.oid)
            FROM pg_database d WHERE datname = '\(live)'
            """
        let before = try await scene.messenger.server.psqlElsewhere(facts)
        let entry = try await scene.backedUp()
        try await scene.messenger.sql(
            "DELETE FROM messages; CREATE TABLE newer (id bigint REFERENCES users); INSERT INTO newer VALUES (5)")
        // An application that stays connected, and comes back at once.
        let application = Task { [messenger = scene.messenger] in
            while !Task.isCancelled { _ = try? await messenger.sql("SELECT pg_sleep(2)") }
        }
        defer { application.cancel() }
        let old = "\(live)_before"
        try await scene.run(.restore(DatabaseRestore(backup: entry.name, keepAs: old)))
        #expect(try await scene.messenger.count("messages") == 2000)
        #expect(try await scene.messenger.sql("SELECT to_regclass('newer') IS NULL") == "t")
        #expect(try await scene.messenger.server.psqlElsewhere(facts) == before)
        #expect(
            try await scene.messenger.sql(
                "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'media'") == "app_\(live)")
        #expect(
            try await scene.messenger.sql("SELECT has_table_privilege('app_\(live)', 'messages', 'SELECT')") == "t")
        // What it was is still there, closed.
        #expect(
            try await scene.messenger.server.psqlElsewhere(
                "SELECT datallowconn FROM pg_database WHERE datname = '\(old)'") == "f")
        _ = try await scene.messenger.server.psqlElsewhere("ALTER DATABASE \(old) ALLOW_CONNECTIONS true")
        #expect(try await scene.messenger.server.psqlElsewhere("SELECT count(*) FROM newer", old) == "1")
        // A second time the name is taken: nothing is touched.
        let error = await failure {
            try await scene.run(.restore(DatabaseRestore(backup: entry.name, keepAs: old)))
        }
        #expect(error?.code == .jobRefused && error?.message.contains("already") == true)
    }

    @Test func leftoversOfOursAreDroppedAndNoOthers() async throws {
        let scene = try await BackupScene.make("INSERT INTO users VALUES (1)")
        _ = try await scene.backedUp()
        let server = scene.messenger.server
        let comment = "scratch of certs: dropped when its restore is over"
        let (marked, bare, others, odd) = (
            "certs_scratch_00000000000000a1", "certs_scratch_00000000000000a2", "certs_scratch_00000000000000a3",
            "certs_scratch_mine"
        )
        for name in [marked, bare, others, odd] { _ = try await server.psqlElsewhere("CREATE DATABASE \(name)") }
        _ = try await server.psqlElsewhere("COMMENT ON DATABASE \(marked) IS '\(comment)'")
        _ = try await server.psqlElsewhere("COMMENT ON DATABASE \(others) IS 'kept by Ann'")
        try await scene.run(.testRestore(RestoreTest()))
        let left = try await scene.scratches()
        #expect(!left.contains(marked) && !left.contains(bare) && left.contains(others) && left.contains(odd))
        for name in [others, odd] { _ = try await server.psqlElsewhere("DROP DATABASE \(name)") }
    }

    @Test func aNameThatTheServerWouldCutIsRefused() async throws {
        let scene = try await BackupScene.make("INSERT INTO users VALUES (1)")
        let entry = try await scene.backedUp()
        let error = await failure {
            try await scene.run(
                .restore(DatabaseRestore(backup: entry.name, keepAs: String(repeating: "x", count: 64))))
        }
        #expect(error?.code == .jobRefused && error?.message.contains("63 bytes") == true)
        #expect(try await scene.messenger.count("users") == 1)
    }
}

extension RealPostgres {
    /// SQL in another database; without one in that which every server has.
    func psqlElsewhere(_ sql: String, _ database: String = "postgres") async throws -> String {
        try await BlockingPool.network.run { try self.psql(sql, database: database) }
    }
}
