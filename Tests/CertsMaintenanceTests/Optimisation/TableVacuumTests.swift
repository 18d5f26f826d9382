import CertsCore
import CertsMaintenance
import CertsTesting
import Foundation
import Testing

@Suite(.timeLimit(.minutes(10))) struct TableVacuumTests {
    /// 20,000 messages, half of them dead; 1,000 users, analyzed and untouched; codes that were never analyzed.
    private static let content = """
        INSERT INTO messages SELECT n, NULL, 'text', now() FROM generate_series(1, 20000) n;
        INSERT INTO users SELECT n FROM generate_series(1, 1000) n;
        INSERT INTO verification_codes SELECT n::text, 'x', 0, now() FROM generate_series(1, 500) n;
        """
    private static let tables = VacuumWork(
        scope: TableScope(names: ["messages", "users", "verification_codes"]), costDelay: 0)

    private static func scene(owned: Bool = true) async throws -> DatabaseScene {
        let scene = try await DatabaseScene.make(content, owned: owned)
        try await scene.sql("VACUUM ANALYZE messages")
        try await scene.sql("VACUUM ANALYZE users")
        try await scene.sql("DELETE FROM messages WHERE message_id % 2 = 0")
        return scene
    }

    /// The tables that were vacuumed or analyzed again.
    private static func touched(_ scene: DatabaseScene, since: String) async throws -> Set<String> {
        let names = try await scene.sql(
            """
            SELECT relname FROM pg_stat_user_tables
            WHERE greatest(last_vacuum, last_analyze) > '\(since)'::timestamptz
            """)
        return Set(names.split(separator: "\n").map(String.init))
    }

    @Test func aRunDoesWhatItsPlanListsAndNothingElse() async throws {
        let scene = try await Self.scene()
        let plan = try await scene.plan(.vacuum(Self.tables))
        #expect(plan.map(\.subject) == ["messages", "verification_codes"])
        #expect(plan.first?.count == 10_000)
        #expect(plan.first?.keys.first?.hasPrefix("vacuum: 10000 dead rows") == true)
        #expect(plan.last?.keys.contains("analyze: it never was") == true)
        let before = try await scene.sql("SELECT clock_timestamp()")
        let done = try await scene.run(.vacuum(Self.tables))
        #expect(done.error == nil && done.reason == nil, "\(done.reason ?? "")")
        #expect(done.rows == 2)
        #expect(try await Self.touched(scene, since: before) == ["messages", "verification_codes"])
        #expect(scene.has(done.measures, .vacuumedDeadRows, ["table": "messages", "when": "before"]) == 10_000)
        #expect(scene.has(done.measures, .vacuumedDeadRows, ["table": "messages", "when": "after"]) == 0)
        #expect(scene.has(done.measures, .vacuumHeldRows, ["table": "messages"]) == 0)
        #expect(scene.has(done.measures, .vacuumIndexScans, ["table": "messages"]) == 1)
        // Nothing is left to do.
        #expect(try await scene.plan(.vacuum(Self.tables)).isEmpty)
    }

    @Test func withoutNamesItTakesTheTablesThatTheRoleOwns() async throws {
        let scene = try await Self.scene()
        try await scene.sql("CREATE TABLE foreign_one AS SELECT n FROM generate_series(1, 5000) n")
        let subjects = try await scene.plan(.vacuum(VacuumWork())).map(\.subject)
        #expect(subjects.contains("messages") && subjects.contains("odd \"table"))
        #expect(!subjects.contains("foreign_one"))
        let done = try await scene.run(.vacuum(VacuumWork(costDelay: 0)))
        #expect(done.error == nil && done.reason == nil, "\(done.reason ?? "") \(String(describing: done.error))")
        #expect(done.rows == subjects.count)
    }

    @Test func whatIsNotThereOrAnothersIsTold() async throws {
        let scene = try await Self.scene()
        try await scene.sql("CREATE TABLE foreign_one (n int)")
        let missing = await #expect(throws: CertsError.self) {
            try await scene.run(.vacuum(VacuumWork(scope: TableScope(names: ["mesages"]))))
        }
        #expect(missing?.code == .configurationInvalid)
        #expect(missing?.hint?.contains("messages") == true)
        let anothers = await #expect(throws: CertsError.self) {
            try await scene.run(.vacuum(VacuumWork(scope: TableScope(names: ["foreign_one"]))))
        }
        #expect(anothers?.code == .databaseRefused)
    }

    @Test func whoKeepsDeadRowsIsNamed() async throws {
        let scene = try await DatabaseScene.make(Self.content, owned: true)
        try await scene.sql("VACUUM ANALYZE messages")
        let done = try await scene.beside("SELECT count(*) FROM users") {
            try await scene.sql("DELETE FROM messages WHERE message_id % 2 = 0")
            let plan = try await scene.plan(.vacuum(Self.tables))
            #expect(plan.first?.warnings.first?.contains("the transaction of process") == true)
            return try await scene.run(.vacuum(Self.tables))
        }
        #expect(done.error == nil)
        #expect(done.reason?.contains("10000 dead rows of messages cannot go yet") == true, "\(done.reason ?? "")")
        #expect(done.reason?.contains("beside-") == true, "\(done.reason ?? "")")
        #expect(scene.has(done.measures, .vacuumHeldRows, ["table": "messages"]) == 10_000)
        // When it has ended, they go.
        let again = try await scene.run(.vacuum(Self.tables))
        #expect(again.reason == nil, "\(again.reason ?? "")")
        #expect(scene.has(again.measures, .vacuumedDeadRows, ["table": "messages", "when": "after"]) == 0)
    }

    @Test func theDeadlineEndsItAndTellsWhatIsLeft() async throws {
        let scene = try await DatabaseScene.make(
            "INSERT INTO messages SELECT n, NULL, repeat('x', 500), now() FROM generate_series(1, 40000) n;",
            owned: true)
        try await scene.sql("DELETE FROM messages")
        var work = Self.tables
        work.costDelay = 100
        let done = try await scene.run(.vacuum(work), control: Messenger.control(.seconds(1)))
        #expect(done.error == nil, "\(String(describing: done.error))")
        #expect(done.reason?.contains("its deadline has passed while it worked on messages") == true)
        let active = try await scene.sql(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'VACUUM (VERB%' "
                + "AND state = 'active' AND datname = current_database()")
        #expect(active == "0")
    }

    @Test func aTableThatOthersLockIsLeftAndTheRestIsDone() async throws {
        let scene = try await Self.scene()
        let done = try await scene.beside("LOCK TABLE messages IN SHARE UPDATE EXCLUSIVE MODE") {
            try await scene.run(.vacuum(Self.tables))
        }
        #expect(done.rows == 1)
        #expect(done.reason?.contains("messages is locked by others") == true, "\(done.reason ?? "")")
    }

    /// Cutting off the end takes a lock that a standby has to replay.
    @Test func theEndOfATableIsNotCutOffBesideAStandby() async throws {
        let server = try await BlockingPool.network.run { try RealPostgres() }
        let database = try await BlockingPool.network.run { try server.makeDatabase(Messenger.schema + Self.content) }
        let scene = DatabaseScene(
            messenger: Messenger(server: server, database: database), user: RealPostgres.user)
        try await scene.sql("SELECT pg_create_physical_replication_slot('standby', true)")
        try await scene.sql("DELETE FROM messages")
        _ = try await scene.run(.vacuum(Self.tables))
        let kept = Int(try await scene.sql("SELECT pg_relation_size('messages')")) ?? 0
        #expect(kept > 500_000)
        try await scene.sql("SELECT pg_drop_replication_slot('standby')")
        try await scene.sql("INSERT INTO messages SELECT n, NULL, 'x', now() FROM generate_series(1, 3000) n")
        try await scene.sql("DELETE FROM messages")
        _ = try await scene.run(.vacuum(Self.tables))
        #expect(try await scene.sql("SELECT pg_relation_size('messages')") == "0")
    }
}
