import CertsCore
import CertsMaintenance
import CertsTesting
import Foundation
import Testing

/// The backup snippets of the procedure on a real server: first what they do, then what ours does.
@Suite(.timeLimit(.minutes(10))) struct BackupSnippetTests {
    /// `pg_dump -U messaging -h localhost -p 5432 -F c -b -v -f /backups/messaging_backup_$(date +%Y%m%d).dump messaging`
    private func originalDump(_ scene: BackupScene, prefix: String = "") throws -> Int32 {
        try Tool.run(
            "bash", "-c",
            "\(prefix) pg_dump -U postgres -h \(scene.messenger.server.host) -p 5432 -F c -b -v "
                + "-f \(scene.directory.path)/messaging_backup_$(date +%Y%m%d).dump \(scene.messenger.database)"
        ).status
    }

    private func files(_ scene: BackupScene) throws -> [String] {
        try scene.names.filter { $0.hasPrefix("messaging_backup_") }
    }

    /// `pg_restore -U messaging -h localhost -p 5432 -d messaging -c -v /backups/messaging_backup_20251204.dump`
    private func originalRestore(_ scene: BackupScene, into database: String, _ file: String) throws -> Tool.Outcome {
        try Tool.run(
            "pg_restore", "-U", "postgres", "-h", scene.messenger.server.host, "-p", "5432", "-d", database, "-c", "-v",
            "\(scene.directory.path)/\(file)")
    }

    @Test func aSecondDumpOfTheDayReplacesTheFirstAndOneThatIsKilledKeepsTheName() async throws {
        let scene = try await BackupScene.make()
        #expect(try originalDump(scene) == 0)
        try await scene.messenger.sql("DROP TABLE messages CASCADE")
        #expect(try originalDump(scene) == 0)
        // At midnight there may be two of them; the test is about one day.
        let names = try files(scene)
        if names.count == 1 {
            let list = try Tool.run("pg_restore", "-l", scene.directory.path(names[0])).output
            #expect(!list.contains("TABLE DATA public messages "), "the first is gone: no messages anywhere")
        }
        // Killed by the limit for files, as by a disk that is full: what is there looks like a backup.
        #expect(try originalDump(scene, prefix: "ulimit -f 8;") != 0)
        #expect(try !files(scene).isEmpty)
        let cut = try #require(try files(scene).last)
        #expect(try Tool.run("pg_restore", "-f", "/dev/null", scene.directory.path(cut)).status != 0)

        let ours = try await BackupScene.make()
        let first = try await ours.backedUp(-60)
        try await ours.messenger.sql("DROP TABLE messages CASCADE")
        try await ours.run()
        let both = try ours.catalogue.entries()
        #expect(both.count == 2 && both.map(\.isGood) == [true, true])
        #expect(both.last?.name == first.name)
        #expect(both.last?.manifest?.content.tables["public.messages"]?.rows == 2000)
        var broken = ours
        broken.shift = 60
        broken.backup.clientDirectory = try ours.client(["pg_dump": "ulimit -f 8; exec $real/pg_dump \"$@\""])
        let error = await failure { [broken] in try await broken.run() }
        #expect(error?.code == .jobFailed)
        #expect(try ours.catalogue.entries().count == 2)
    }

    @Test func aRestoreWithCleanIntoAnEmptyDatabaseFailsAlthoughTheDataAreThere() async throws {
        let scene = try await BackupScene.make()
        #expect(try originalDump(scene) == 0)
        let empty = try await BlockingPool.network.run { [server = scene.messenger.server] in try server.makeDatabase()
        }
        let outcome = try originalRestore(scene, into: empty, try #require(try files(scene).first))
        #expect(outcome.status == 1 && outcome.output.contains("does not exist"))
        #expect(try await scene.messenger.server.psqlElsewhere("SELECT count(*) FROM messages", empty) == "2000")
    }

    @Test func aRestoreWithCleanIntoTheLiveDatabaseLeavesAMixtureAndOursDoesNot() async throws {
        let scene = try await BackupScene.make()
        let ours = try await BackupScene.make()
        let entry = try await ours.backedUp()
        #expect(try originalDump(scene) == 0)
        let since = """
            CREATE TABLE devices (user_id bigint REFERENCES users); INSERT INTO devices VALUES (1);
            INSERT INTO users VALUES (999); UPDATE media SET blob_key = 'new'; DELETE FROM messages WHERE message_id > 10;
            DELETE FROM audit_logs
            """
        for each in [scene, ours] { try await each.messenger.sql(since) }
        let outcome = try originalRestore(scene, into: scene.messenger.database, try #require(try files(scene).first))
        #expect(outcome.status == 1 && outcome.output.contains("cannot drop"))
        // Some tables are of then, some of now: no state that ever was.
        #expect(try await scene.messenger.count("audit_logs") == 50)
        #expect(try await scene.messenger.sql("SELECT count(*) FROM users WHERE user_id = 999") == "1")
        #expect(try await scene.messenger.count("devices") == 1)

        let old = "\(ours.messenger.database)_mixed"
        try await ours.run(.restore(DatabaseRestore(backup: entry.name, keepAs: old)))
        #expect(try await ours.messenger.count("audit_logs") == 50)
        #expect(try await ours.messenger.count("messages") == 2000)
        #expect(try await ours.messenger.sql("SELECT count(*) FROM users WHERE user_id = 999") == "0")
        #expect(try await ours.messenger.sql("SELECT to_regclass('devices') IS NULL") == "t")
    }
}
