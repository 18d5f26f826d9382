import CertsCore
import CertsMaintenance
import CertsTesting
import Foundation
import Testing

@Suite(.timeLimit(.minutes(5))) struct OrphanDeletionTests {
    private static let work = OrphanDeletion(
        TableName("message_media"), column: "message_id", parent: TableName("messages"), parentColumn: "message_id",
        ageColumn: "created_at", age: 3600)

    /// 200 rows with a parent, 5 orphans of yesterday, one of this minute, one without a reference.
    private static let content = """
        INSERT INTO messages (message_id) SELECT generate_series(1, 200);
        INSERT INTO message_media (message_id, created_at) SELECT n, now() - interval '1 day' FROM generate_series(1, 205) n;
        INSERT INTO message_media (message_id) VALUES (9000);
        INSERT INTO message_media (message_id, created_at) VALUES (NULL, now() - interval '1 day');
        """

    private func delete(_ work: OrphanDeletion, in messenger: Messenger) async throws -> BatchDeletion.Outcome {
        try await messenger.withSession { session in
            var deletion = BatchDeletion(
                try Deletion.make(work, in: session), in: session, control: Messenger.control())
            try deletion.run()
            return deletion.outcome
        }
    }

    @Test func orphansGoAndYoungRowsAndThoseWithoutAReferenceStay() async throws {
        let messenger = try await Messenger.make(Self.content)
        let outcome = try await delete(Self.work, in: messenger)
        #expect(outcome.rows == 5)
        #expect(try await messenger.count("message_media") == 202)
    }

    /// `NOT IN` with a NULL among the parents' values deletes nothing, and says nothing.
    @Test func aNullAmongTheParentsStopsTheOriginalAndNotUs() async throws {
        let messenger = try await Messenger.make(
            Self.content + "CREATE TABLE parents AS SELECT message_id FROM messages UNION ALL SELECT NULL;")
        try await messenger.sql("DELETE FROM message_media WHERE message_id NOT IN (SELECT message_id FROM parents)")
        #expect(try await messenger.count("message_media") == 207)
        var work = Self.work
        work.parent = TableName("parents")
        #expect(try await delete(work, in: messenger).rows == 5)
    }

    /// The parent has no such column: in the procedure's statement it is the outer one, and with an empty parent all
    /// rows go.
    @Test func aColumnThatTheParentDoesNotHaveIsRefused() async throws {
        let messenger = try await Messenger.make(Self.content + "CREATE TABLE empty_parent (id bigint);")
        let original = try await messenger.sql(
            """
            BEGIN; DELETE FROM message_media WHERE message_id NOT IN (SELECT message_id FROM empty_parent);
            SELECT count(*) FROM message_media; ROLLBACK
            """)
        #expect(original == "0" || original == "1", "the trap is no trap any more: \(original)")
        var work = Self.work
        work.parent = TableName("empty_parent")
        let error = await #expect(throws: CertsError.self) { try await delete(work, in: messenger) }
        #expect(error?.code == .configurationInvalid)
        work.parentColumn = "id"
        let empty = await #expect(throws: CertsError.self) { try await delete(work, in: messenger) }
        #expect(empty?.code == .jobRefused)
        #expect(try await messenger.count("message_media") == 207)
    }

    @Test func aShareThatIsTooLargeIsRefusedAndNothingGoes() async throws {
        let messenger = try await Messenger.make(Self.content + "DELETE FROM messages WHERE message_id > 100;")
        let error = await #expect(throws: CertsError.self) { try await delete(Self.work, in: messenger) }
        #expect(error?.code == .jobRefused)
        #expect(try await messenger.count("message_media") == 207)
        var work = Self.work
        work.limits.share = 0.6
        #expect(try await delete(work, in: messenger).rows == 105)
    }
}
