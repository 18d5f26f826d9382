import CertsCore
import CertsMaintenance
import CertsTesting
import Foundation
import Testing

@Suite(.timeLimit(.minutes(5))) struct PostgresSessionTests {
    /// Runs `body` with a session on a database of its own.
    private func withSession<Value: Sendable>(
        _ schema: String = "", interrupt: JobInterrupt = JobInterrupt(),
        _ body: @escaping @Sendable (PostgresSession) throws -> Value
    ) async throws -> Value {
        let server = try await RealPostgres.shared()
        return try await BlockingPool.network.run {
            let database = try server.makeDatabase(schema)
            return try body(
                PostgresSession(
                    server.declaration(database), password: nil, application: "certs:test", interrupt: interrupt))
        }
    }

    @Test func parametersAndNamesTravelApartFromTheStatement() async throws {
        let name = #"odd "name"; DROP TABLE x; --"#
        let value = #"it's \ "quoted"; DROP TABLE x"#
        let answer = try await withSession { session in
            try session.run("CREATE TABLE \(name: name) (\(name: value) text)")
            try session.run("INSERT INTO \(name: name) VALUES (\(value: value)), (\(value: nil))")
            return try session.run("SELECT * FROM \(name: name) ORDER BY 1")
        }
        #expect(answer.columns == [value])
        #expect(answer.rows == [[value], [nil]])
    }

    @Test func arraysSurviveEveryCharacter() async throws {
        let elements = ["", "NULL", #"a"b\c"#, "{x,y}", "ü", " blank "]
        let answer = try await withSession { session in
            try session.run("SELECT unnest(\(array: elements)::text[])")
        }
        #expect(answer.values == elements)
    }

    @Test func failuresHaveTheCodeOfTheServer() async throws {
        try await withSession { session in
            let failure = #expect(throws: PostgresFailure.self) { try session.run("SELECT 1 / 0") }
            #expect(failure?.state == "22012")
            // The session goes on.
            let seven = try session.run("SELECT 7").integer
            #expect(seven == 7)
        }
    }

    @Test func whatTakesTooLongIsCancelledAtTheServer() async throws {
        try await withSession { session in
            let begin = ContinuousClock.now
            #expect(throws: PostgresFailure.self) {
                try session.run("SELECT pg_sleep(600)", within: .milliseconds(300))
            }
            #expect(ContinuousClock.now - begin < .seconds(60))
            let active = try session.run(
                """
                SELECT count(*) FROM pg_stat_activity
                WHERE query LIKE '%sleep(600)' AND state = 'active' AND datname = current_database()
                """)
            #expect(active.integer == 0)
        }
    }

    @Test func anInterruptEndsAStatement() async throws {
        let interrupt = JobInterrupt()
        try await withSession(interrupt: interrupt) { session in
            let thread = Thread {
                usleep(300_000)
                interrupt.set()
            }
            thread.start()
            let error = #expect(throws: CertsError.self) {
                try session.run("SELECT pg_sleep(600)", within: .seconds(120))
            }
            #expect(error?.code == .cancelled)
        }
    }

    @Test func noticesAreKept() async throws {
        let notices = try await withSession { session in
            try session.run("DO $$ BEGIN RAISE NOTICE 'look at % rows', 5; END $$")
            return session.notices
        }
        #expect(notices == ["look at 5 rows"])
    }

    @Test func aTransactionThatFailsLeavesNothing() async throws {
        try await withSession("CREATE TABLE t (id int)") { session in
            #expect(throws: PostgresFailure.self) {
                try session.transaction {
                    try session.run("INSERT INTO t VALUES (1)")
                    try session.run("SELECT no_such_column")
                }
            }
            let count = try session.run("SELECT count(*) FROM t").integer
            #expect(count == 0)
        }
    }

    @Test func anUnreachableServerIsToldAsSuch() async throws {
        let nowhere = DatabaseDeclaration(host: "/nonexistent", name: "x", user: "y")
        try await BlockingPool.network.run {
            let failure = #expect(throws: PostgresFailure.self) {
                try PostgresSession(nowhere, password: nil, application: "certs:test")
            }
            #expect(failure?.error("cannot connect", subject: "x").code == .databaseUnreachable)
        }
    }

    @Test func anUnknownDatabaseIsAQuestionOfTheConfiguration() async throws {
        let server = try await RealPostgres.shared()
        try await BlockingPool.network.run {
            let failure = #expect(throws: PostgresFailure.self) {
                try PostgresSession(server.declaration("no_such"), password: nil, application: "certs:test")
            }
            #expect(failure?.error("cannot connect", subject: "x").code == .databaseRefused)
        }
    }
}
