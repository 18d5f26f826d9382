import CertsCore
import CertsMaintenance
import CertsTesting
import Foundation
import Testing

@Suite(.timeLimit(.minutes(10))) struct TableRewriteTests {
    private static let content = """
        INSERT INTO messages SELECT n, NULL, repeat('x', 200), now() FROM generate_series(1, 20000) n;
        DELETE FROM messages WHERE message_id > 2000;
        """
    private static let work = VacuumFullWork(scope: TableScope(names: ["messages"]))

    private static func size(_ scene: DatabaseScene) async throws -> Int {
        Int(try await scene.sql("SELECT pg_total_relation_size('messages')")) ?? 0
    }

    @Test func theTimerNeverRunsIt() async throws {
        let scene = try await DatabaseScene.make(Self.content)
        let before = try await scene.sql("SELECT pg_relation_filenode('messages')")
        let error = await #expect(throws: CertsError.self) { try await scene.run(.vacuumFull(Self.work)) }
        #expect(error?.code == .jobRefused)
        #expect(error?.hint?.contains("--yes") == true)
        #expect(try await scene.sql("SELECT pg_relation_filenode('messages')") == before)
    }

    @Test func aGuardThatOpensLetsItRun() async throws {
        let scene = try await DatabaseScene.make(Self.content)
        let before = try await Self.size(scene)
        let plan = try await scene.plan(.vacuumFull(Self.work))
        #expect(plan.map(\.subject) == ["messages"])
        // A connection of anybody that is just being made may still see the dead rows, and then they are written anew, too.
        var after = before
        for _ in 0..<5 where after >= before / 4 {
            let size = after
            let done = try await scene.run(.vacuumFull(Self.work), .confirmed)
            #expect(done.error == nil && done.reason == nil, "\(done.reason ?? "")")
            after = try await Self.size(scene)
            #expect(
                scene.has(done.measures, .rewriteFreedBytes, ["table": "messages"]).map(Int.init) == size - after)
        }
        #expect(after < before / 4)
        #expect(try await scene.messenger.count("messages") == 2000)
    }

    @Test func whereTheFreeSpaceCannotBeSeenSomebodyHasToLook() async throws {
        let scene = try await DatabaseScene.make(Self.content, owned: true)
        let error = await #expect(throws: CertsError.self) { try await scene.run(.vacuumFull(Self.work), .confirmed) }
        #expect(error?.code == .jobRefused)
        #expect(error?.hint?.contains("freeSpaceChecked") == true)
        #expect(try await scene.plan(.vacuumFull(Self.work)).first?.warnings.count == 1)
        var looked = Self.work
        looked.freeSpaceChecked = true
        let done = try await scene.run(.vacuumFull(looked), .confirmed)
        #expect(done.rows == 1 && done.reason == nil, "\(done.reason ?? "")")
        // A role that may read the settings of the server needs nobody to look.
        try await scene.sql("GRANT pg_read_all_settings TO \(scene.user)")
        #expect(try await scene.run(.vacuumFull(Self.work), .confirmed).rows == 1)
    }

    @Test func besideAReaderItGivesUpSoonAndChangesNothing() async throws {
        let scene = try await DatabaseScene.make(Self.content + "CREATE TABLE small AS SELECT 1 AS n;")
        let before = try await scene.sql("SELECT pg_relation_filenode('messages')")
        var work = Self.work
        work.scope.names.append("small")
        let done = try await scene.beside("SELECT count(*) FROM messages") {
            try await scene.run(.vacuumFull(work), .confirmed)
        }
        // The smaller table was not locked.
        #expect(done.rows == 1)
        #expect(done.reason?.contains("messages is locked by others") == true, "\(done.reason ?? "")")
        #expect(try await scene.sql("SELECT pg_relation_filenode('messages')") == before)
    }
}
