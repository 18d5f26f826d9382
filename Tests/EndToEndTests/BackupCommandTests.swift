import CertsCore
import CertsTesting
import Foundation
import Testing

/// Backups and restores by the program itself, on a real PostgreSQL; killed at every step of a restore.
@Suite struct BackupCommandTests {
    struct Backups: Decodable {
        struct Item: Decodable {
            let name: String
            let ageSeconds: Double
            let bytes: Int?
            let isVerified: Bool
            let isProven: Bool
            let restoreSeconds: Double?
            let problems: [String]
        }
        let schema: Int
        let directory: String
        let backups: [Item]
    }

    /// A database `shop…` with 500 rows, and a configuration with a job for it.
    struct Scene: Sendable {
        let directory: TemporaryDirectory
        let server: RealPostgres
        let database: String

        static func make() async throws -> Scene {
            let server = try await RealPostgres.shared()
            let directory = try TemporaryDirectory(prefix: "certs-e2e-backup")
            let database = try await blocking.run {
                try server.makeDatabase("CREATE TABLE orders AS SELECT n FROM generate_series(1, 500) n")
            }
            mkdir(directory.path("backups"), 0o700)
            try directory.write(
                """
                version: 1
                issuers: { own: { type: self-signed } }
                certificates: [ { name: shop, dnsNames: [shop.example.com], issuer: own } ]
                maintenance:
                  database: { host: \(server.host), name: \(database), user: \(RealPostgres.user) }
                  jobs:
                    - { name: nightly, kind: backup, directory: ./backups, keep: { daily: 7, weekly: 5, monthly: 12 } }
                    - { name: weekly-proof, kind: restore-test }
                """, to: "certs.yml")
            return Scene(directory: directory, server: server, database: database)
        }

        @discardableResult
        func certs(
            _ arguments: String..., exits status: Int32? = 0, fault: String? = nil,
            sourceLocation: SourceLocation = #_sourceLocation
        ) async throws -> Program.Outcome {
            var program = RotationScene.program(
                ["maintenance"] + arguments + ["--config", directory.path("certs.yml")], fault)
            program.deadline = 180
            let outcome = try await program.run()
            if let status {
                #expect(outcome.status == status, "\(arguments): \(outcome.all)", sourceLocation: sourceLocation)
            }
            return outcome
        }

        func backups() async throws -> [Backups.Item] {
            let outcome = try await certs("backups", "-o", "json", exits: nil)
            return try JSONDecoder().decode(Backups.self, from: outcome.output).backups
        }

        func sql(_ sql: String, in database: String? = nil) async throws -> String {
            let database = database ?? self.database
            return try await blocking.run { [server] in try server.psql(sql, database: database) }
        }
    }

    @Test func `a backup is made, proven, listed and put back`() async throws {
        let scene = try await Scene.make()
        try await scene.certs("backups")
        try await scene.certs("run", "nightly")
        let made = try await scene.backups()
        #expect(made.map(\.isVerified) == [true] && made.map(\.isProven) == [false])
        let name = try #require(made.first).name
        let tested = try await scene.certs("restore-test")
        #expect(tested.errors.contains("(RTO)") && tested.errors.contains("(RPO)") && tested.errors.contains(name))
        #expect(try await scene.backups().map(\.isProven) == [true])
        let status = try await scene.certs("status")
        #expect(status.text.contains("weekly-proof") && status.text.contains("nightly"))

        _ = try await scene.sql("DELETE FROM orders")
        let asked = try await scene.certs("restore", name, exits: 5)
        #expect(asked.errors.contains("--yes") && asked.errors.contains("is kept as"))
        #expect(try await scene.sql("SELECT count(*) FROM orders") == "0")
        let old = "\(scene.database)_old"
        let done = try await scene.certs("restore", name, "--yes", "--keep-as", old)
        #expect(done.errors.contains("kept as '\(old)'"))
        #expect(try await scene.sql("SELECT count(*) FROM orders") == "500")
        #expect(
            try await scene.sql("SELECT datallowconn FROM pg_database WHERE datname = '\(old)'", in: "postgres") == "f")
        try await scene.certs("restore", "nothing-20260101T000000Z", "--yes", exits: 1)
        let ledger = try await scene.certs("status", "-o", "json")
        #expect(ledger.text.contains("\"restore\""))

        // One that is damaged afterwards is found by reading it.
        let dump = "\(scene.directory.path("backups"))/\(name)/database.dump"
        let file = try FileHandle(forUpdating: URL(filePath: dump))
        try file.seek(toOffset: 200)
        try file.write(contentsOf: [0xff, 0xff])
        try file.close()
        let checked = try await scene.certs("backups", "--check", exits: 1)
        #expect(checked.text.contains("damaged") && checked.text.contains("NO"))
        try await scene.certs("restore-test", name, exits: 1)
        try await scene.certs("restore", name, "--yes", exits: 5)
    }

    @Test(arguments: [
        ("restore-begun", false), ("restore-made", false), ("restore-compared", false), ("restore-renaming", false),
        ("restore-renamed", true),
    ])
    func `killed in a restore, the server has the one or the other`(point: String, isRestored: Bool) async throws {
        let scene = try await Scene.make()
        try await scene.certs("run", "nightly")
        let name = try #require(try await scene.backups().first).name
        _ = try await scene.sql("DELETE FROM orders WHERE n > 100")
        let killed = try await scene.certs(
            "restore", name, "--yes", "--keep-as", "\(scene.database)_1", exits: 128 + SIGKILL, fault: "\(point):kill")
        #expect(killed.status == 128 + SIGKILL)
        // Whatever was open at the server ends with the process.
        let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'certs:restore:%'"
        #expect(try await eventually { try await scene.sql(open, in: "postgres") == "0" })
        #expect(try await scene.sql("SELECT count(*) FROM orders") == (isRestored ? "500" : "100"))
        let names = try await scene.sql(
            "SELECT datname FROM pg_database WHERE datname LIKE '\(scene.database)\\_%'", in: "postgres")
        #expect(names == (isRestored ? "\(scene.database)_1" : ""))
        // The next one clears away what was left, and does it.
        try await scene.certs("restore", name, "--yes", "--keep-as", "\(scene.database)_2")
        #expect(try await scene.sql("SELECT count(*) FROM orders") == "500")
        let comments = """
            SELECT count(*) FROM pg_database d WHERE shobj_description(oid, 'pg_database') LIKE 'scratch of certs%'
            AND NOT EXISTS (SELECT FROM pg_locks l WHERE locktype = 'advisory' AND objid::int8 = (hashtext(d.datname)::int8 & 4294967295))
            """
        #expect(try await eventually { try await scene.sql(comments, in: "postgres") == "0" })
    }
}
