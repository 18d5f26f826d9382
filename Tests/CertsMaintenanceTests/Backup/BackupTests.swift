import CertsCore
import CertsMaintenance
import CertsTesting
import Foundation
import Testing

@Suite(.timeLimit(.minutes(10))) struct BackupTests {
    @Test func aBackupIsWholeAloneItsOwnersAndSaysWhatIsInIt() async throws {
        let scene = try await BackupScene.make()
        let done = try await scene.run()
        let entries = try scene.catalogue.entries()
        #expect(try scene.visible == entries.map(\.name) && entries.count == 1)
        let entry = try #require(entries.first)
        let manifest = try #require(entry.manifest)
        #expect(entry.isGood && !entry.isProven)
        #expect(manifest.content.tables["public.messages"]?.rows == 2000)
        #expect(manifest.content.tables["public.odd \"table"]?.rows == 2)
        #expect(manifest.content.sequences["public.message_media_id_seq"]?.before == 300)
        #expect(manifest.content.extensions.keys.sorted() == ["pgcrypto", "plpgsql"])
        #expect(manifest.content.largeObjects == 1)
        #expect(manifest.hasPasswords && manifest.client.hasPrefix("15."))
        #expect(manifest.files.map(\.path) == ["database.dump", "globals.sql", "schema.sql"])
        for file in ["", "/database.dump", "/globals.sql", "/schema.sql", "/manifest.json", "/SHA256SUMS"] {
            let mode = try FileManager.default.attributesOfItem(atPath: entry.path + file)[.posixPermissions] as? Int
            #expect(mode == (file.isEmpty ? 0o700 : 0o600), "\(file)")
        }
        let globals = try String(contentsOfFile: entry.path + "/globals.sql", encoding: .utf8)
        #expect(globals.contains("CREATE ROLE postgres"))
        #expect(try Tool.run("sha256sum", "-c", "SHA256SUMS", directory: entry.path).status == 0)
        let type = ["type": "logical"]
        #expect(
            done.measures?.contains(JobMeasure(.backupSuccess, type, manifest.takenAt.timeIntervalSince1970)) == true)
        #expect(done.measures?.contains(JobMeasure(.backupBytes, type, Double(manifest.bytes))) == true)
        #expect(done.reason == nil && done.rows == 1)
    }

    @Test func twoRunsAtOnceMakeOneBackup() async throws {
        let scene = try await BackupScene.make()
        let clock = scene.control()
        let executor = try scene.executor()
        let job = try scene.job(.backUp(scene.backup))
        async let one = failure { _ = try await executor.run(job, id: "1", quarantine: [], control: clock) }
        async let two = failure { _ = try await executor.run(job, id: "2", quarantine: [], control: clock) }
        let codes = await [one, two].map { $0?.code }
        #expect(codes.contains(nil) && codes.contains(.lockHeld), "\(codes)")
        #expect(try scene.catalogue.entries().count == 1)
    }

    @Test func anOlderClientIsRefusedBeforeAnythingIsWritten() async throws {
        var scene = try await BackupScene.make()
        scene.backup.clientDirectory = try scene.client(["version": "14.19 (Debian 14.19-1)"])
        let before = try scene.visible
        let error = await failure { try await scene.run() }
        #expect(error?.code == .jobRefused)
        #expect(error?.message.contains("14.19") == true && error?.message.contains("older") == true)
        #expect(error?.hint?.contains("clientDirectory") == true)
        #expect(try scene.visible == before)
        let plan = await failure {
            _ = try await scene.executor().plan(
                try scene.job(.backUp(scene.backup)), sample: 5, control: scene.control())
        }
        #expect(plan?.code == .jobRefused)
    }

    /// Each does its worst to the dump of the whole database; that of the schema is left alone.
    @Test(arguments: [
        // Killed in the middle of it.
        """
        $real/pg_dump "$@" & pid=$!
        file=; for word in "$@"; do case $word in --file=*) file=${word#--file=};; esac; done
        for n in {1..2000}; do [[ -s $file ]] && break; sleep 0.005; done
        kill -9 $pid; wait $pid; kill -9 $$
        """,
        // Cut short, and called a success.
        """
        $real/pg_dump "$@" || exit 1
        for word in "$@"; do case $word in --file=*) truncate -s -2000 ${word#--file=};; esac; done
        """,
        // Nothing at all, and called a success.
        """
        for word in "$@"; do case $word in --file=*) : >${word#--file=};; esac; done
        """,
    ])
    func aDumpThatIsCutShortIsNeverCalledABackup(script: String) async throws {
        var scene = try await BackupScene.make(
            BackupScene.content + "INSERT INTO messages SELECT n, 1, md5(n::text) FROM generate_series(10000, 60000) n;"
        )
        let good = try await scene.backedUp(-3600)
        let text = "case \"$*\" in *--schema-only*) exec $real/pg_dump \"$@\";; esac\n" + script
        scene.backup.clientDirectory = try scene.client(["pg_dump": text])
        scene.backup.retention = BackupRetention(daily: 1, weekly: 0, monthly: 0)
        let error = await failure { try await scene.run() }
        #expect(error?.code == .jobFailed, "\(String(describing: error))")
        #expect(try scene.catalogue.entries().map(\.name) == [good.name])
        #expect(try scene.visible.filter { $0.contains("partial") }.isEmpty)
    }

    @Test func aDumpThatHangsEndsAtTheDeadline() async throws {
        var scene = try await BackupScene.make()
        scene.backup.clientDirectory = try scene.client(["pg_dump": "exec sleep 500"])
        let error = await failure { try await scene.run(deadline: .seconds(4)) }
        #expect(error?.code == .jobFailed && error?.message.contains("did not end within") == true)
        #expect(try scene.catalogue.entries().isEmpty)
        #expect(try scene.visible.filter { $0.contains("partial") }.isEmpty)
    }

    @Test func aFullDiskLeavesTheOldBackupsAndNoNewOne() async throws {
        let place = try TemporaryDirectory(prefix: "certs-disk")
        #expect(try Tool.run("mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", place.path).status == 0)
        defer { _ = try? Tool.run("umount", "-l", place.path) }
        let scene = try await BackupScene.make(in: place.path)
        let good = try await scene.backedUp(-3600)
        try await scene.messenger.sql(
            "INSERT INTO messages SELECT n, 1, md5(n::text) || md5((-n)::text) FROM generate_series(10000, 60000) n")
        let error = await failure { try await scene.run() }
        #expect(
            error?.code == .jobFailed && error?.message.lowercased().contains("no space") == true, "\(error as Any)")
        #expect(try scene.visible == [good.name])
        #expect(try scene.catalogue.entries().first?.isGood == true)
        try await scene.catalogue.verify(good, scene.control())
        // Less than the last one needed: not even begun.
        try Tool.run("dd", "if=/dev/zero", "of=\(place.path("filler"))", "bs=4k", "count=1000")
        let refused = await failure { try await scene.run() }
        #expect(refused?.code == .jobRefused)
    }

    @Test func aDirectoryThatOthersCanWriteToIsRefused() async throws {
        let scene = try await BackupScene.make()
        chmod(scene.backup.directory, 0o777)
        let error = await failure { try await scene.run() }
        #expect(error?.code == .jobRefused && error?.message.contains("others can write") == true)
    }

    @Test func thePasswordIsInNoArgumentAndNoVariable() async throws {
        var scene = try await BackupScene.make()
        let log = scene.directory.path("log")
        let spy = """
            { printf '%s\\n' "$@"; env; } >>\(log)
            file=$(printf '%s\\n' "$@" | sed -n "s/.*passfile='\\([^']*\\)'.*/\\1/p")
            [[ -f $file ]] && { stat -c %a "$file"; cat "$file"; } >>\(log).pass
            """
        scene.backup.clientDirectory = try scene.client(
            Dictionary(
                uniqueKeysWithValues: ["pg_dump", "pg_dumpall"].map { ($0, "\(spy)\nexec $real/\($0) \"$@\"") }))
        var server = scene.messenger.declaration
        server.passwordFile = "/not/read"
        try await scene.run(server: server, password: "se:cr\\et")
        let text = try String(contentsOfFile: log, encoding: .utf8)
        #expect(text.contains("passfile=") && !text.contains("cr\\") && !text.contains("PGPASSWORD"))
        let passed = try String(contentsOfFile: "\(log).pass", encoding: .utf8)
        #expect(passed.hasPrefix("600\n*:*:*:*:se\\:cr\\\\et\n"))
        #expect(try scene.names.filter { $0.hasPrefix(".passfile") }.isEmpty)
    }

    @Test func whatAKilledRunLeftIsClearedAndNeverListed() async throws {
        let scene = try await BackupScene.make()
        let good = try await scene.backedUp(-3600)
        let left = scene.directory.path("\(scene.messenger.database)-20260101T000000Z.partial")
        try FileManager.default.copyItem(atPath: good.path, toPath: left)
        #expect(try scene.catalogue.entries().map(\.name) == [good.name])
        try await scene.run()
        #expect(!FileManager.default.fileExists(atPath: left))
        #expect(try scene.catalogue.entries().count == 2)
    }

    @Test func aRoleWithoutRightsOverOthersMakesABackupWithoutPasswords() async throws {
        let scene = try await BackupScene.make()
        let role = "keeper_\(scene.messenger.database)"
        try await scene.messenger.sql(
            """
            CREATE ROLE \(role) LOGIN CREATEDB; GRANT pg_read_all_data TO \(role);
            """)
        var server = scene.messenger.declaration
        server.user = role
        // Large objects are readable by their owner alone.
        try await scene.messenger.sql("SELECT lo_unlink(oid) FROM pg_largeobject_metadata; DROP EXTENSION pgcrypto")
        try await scene.run(server: server)
        let entry = try #require(try scene.catalogue.entries().first)
        #expect(entry.manifest?.hasPasswords == false)
        #expect(try !String(contentsOfFile: entry.path + "/globals.sql", encoding: .utf8).contains("PASSWORD"))
        // It can be proven by that role, too: without the owners, which it cannot set.
        try await scene.run(.testRestore(RestoreTest()), server: server)
        #expect(try scene.catalogue.entries().first?.isProven == true)
        try await scene.messenger.sql("DROP OWNED BY \(role); DROP ROLE \(role)")
    }
}
