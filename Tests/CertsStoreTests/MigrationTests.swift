import CertsCore
import CertsStore
import Foundation
import Testing

@Suite(.timeLimit(.minutes(5))) struct `A database of the first schema` {
    /// A row as it was packed then, for `messenger`: revision 7, 2 failures, waiting, with the date of a hint.
    private static let row =
        "0200000000000000" + "09000000" + "6d657373656e676572" + "01" + "0700000000000000" + "01" + "0700000000000000"
        + "00" + "01" + "0000000000000000" + "00" + "00" + "01" + "0000000000000841" + "00" + "00"
        + "0200000000000000" + "00" + "00" + "01" + "00" + "0000000000000000"

    @Test func `is brought up to date, with all that is in it`() async throws {
        let place = try TemporaryDirectory()
        let state = try await place.state()
        let name = try Name("messenger")
        _ = try await Database.open(in: state).save(CertificateState(name: name))
        let path = "\(state.path)/certs.sqlite"
        let script = """
            import sqlite3, sys
            c = sqlite3.connect(sys.argv[1], timeout=20)
            c.execute("DELETE FROM grdb_migrations WHERE identifier > '1'")
            triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
            for (trigger,) in c.execute(triggers).fetchall(): c.execute("DROP TRIGGER " + trigger)
            for table in ("notification_change", "told", "message", "channel", "watched_endpoint", "watch_source", "watch_error"):
                c.execute("DROP TABLE " + table)
            tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE "
            for part in ("job%", "maintenance%"):
                for (table,) in c.execute(tables + "'" + part + "'").fetchall(): c.execute("DROP TABLE " + table)
            for column in ("source", "is_settled", "digest", "chain_not_after", "chain_valid"):
                c.execute("ALTER TABLE file DROP COLUMN " + column)
            for column in ("interval", "duration"): c.execute("ALTER TABLE task DROP COLUMN " + column)
            c.execute("ALTER TABLE rotation DROP COLUMN deploy_seconds")
            c.execute("DROP INDEX certificate_by_hint_check")
            c.execute("ALTER TABLE certificate DROP COLUMN hint_check_at")
            c.execute("UPDATE certificate SET packed = ?", (bytes.fromhex(sys.argv[2]),))
            c.commit()
            c.close()
            """
        try run("/usr/bin/env", "python3", "-c", script, path, Self.row)

        let database = try await Database.open(in: state)
        var known = try #require(try await database.state(of: name))
        #expect((known.revision, known.issuedRevision, known.consecutiveFailures) == (7, 7, 2))
        #expect(known.isWaiting)
        #expect(known.hint == nil)
        #expect(try await database.nextHintCheck() == nil)
        let leaf = try #require(Fingerprint(hex: String(repeating: "ab", count: 32)))
        known.hintCheck = HintCheck(leaf: leaf, at: Sample.start)
        try await database.save(known)
        #expect(try await database.state(of: name) == known)
        #expect(try await database.nextHintCheck() == Sample.start)
    }

    @Test func `finds whose CA is to be asked, soonest first`() async throws {
        let place = try TemporaryDirectory()
        let database = try await Database.open(in: try await place.state())
        let leaf = try #require(Fingerprint(hex: String(repeating: "ab", count: 32)))
        for (index, name) in ["late", "never", "soon", "now"].enumerated() {
            var state = CertificateState(name: try Name(name))
            if name != "never" {
                state.hintCheck = HintCheck(leaf: leaf, at: Sample.start.addingTimeInterval(Double(10 - index)))
            }
            try await database.save(state)
        }
        #expect(try await database.hintChecks(by: Sample.start) == [])
        #expect(
            try await database.hintChecks(by: Sample.start.addingTimeInterval(8)).map(\.rawValue) == ["now", "soon"])
        #expect(try await database.nextHintCheck() == Sample.start.addingTimeInterval(7))
    }
}
