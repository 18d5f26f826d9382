import CLibPQ
package import CertsCore
import Foundation
import Synchronization

/// Tells work that runs on a thread of its own to stop; may be set from anywhere.
package final class JobInterrupt: Sendable {
    private let flag = Atomic(false)

    package init() {}
    package func set() { flag.store(true, ordering: .relaxed) }
    package var isSet: Bool { flag.load(ordering: .relaxed) }
}

/// One connection to PostgreSQL, used by one thread.
///
/// libpq's asynchronous calls with a wait of our own: nothing waits without a deadline, and a statement that is to stop is
/// cancelled at the server, too. Blocking: run it on a pool that is made for that.
package final class PostgresSession {
    private var connection: OpaquePointer
    private let interrupt: JobInterrupt
    private let noticeBox = NoticeBox()
    /// For messages: `messenger@/run/postgresql`.
    package let place: String

    /// The socket that it came through; `nil`: not one of this host.
    let socketPath: String?

    /// What the server said beside its answers, at most 100 lines.
    package var notices: [String] { noticeBox.lines }

    /// The same, and forgets it.
    func takeNotices() -> [String] {
        defer { noticeBox.lines = [] }
        return noticeBox.lines
    }

    /// Filled by a callback of libpq, on the thread that uses the connection.
    private final class NoticeBox {
        var lines: [String] = []
    }

    /// How long a cancelled statement may take to end, before the connection is given up.
    private static let cancelGrace: Duration = .seconds(10)

    /// Connects and sets the session up: UTF-8, no waiting for locks beyond `lock_timeout`, an idle transaction ends.
    ///
    /// - Parameter application: shown in `pg_stat_activity`.
    /// - Throws: ``PostgresFailure``, or a ``CertsError`` when interrupted.
    package init(
        _ declaration: DatabaseDeclaration, password: Secret?, application: String,
        within limit: Duration = .seconds(10),
        interrupt: JobInterrupt = JobInterrupt()
    ) throws {
        place = "\(declaration.name)@\(declaration.host)"
        socketPath = declaration.host.hasPrefix("/") ? "\(declaration.host)/.s.PGSQL.\(declaration.port)" : nil
        self.interrupt = interrupt
        var settings: [(String, String)] = [
            ("host", declaration.host), ("port", String(declaration.port)), ("dbname", declaration.name),
            ("user", declaration.user), ("application_name", String(application.prefix(63))),
            ("client_encoding", "UTF8"),
            ("sslmode", declaration.host.hasPrefix("/") ? "disable" : declaration.tls.rawValue),
            ("keepalives_idle", "30"), ("keepalives_interval", "10"), ("keepalives_count", "3"),
            ("tcp_user_timeout", "60000"),
            (
                "options",
                // UTC: a column without a zone means the same on every server. No row security: a row that a policy hides
                // would look as if it were not there, and what refers to it as if it were an orphan.
                "-c lock_timeout=2s -c idle_in_transaction_session_timeout=60s -c statement_timeout=30s -c datestyle=ISO "
                    + "-c timezone=UTC -c row_security=off"
            ),
            // What the environment says is not part of the configuration.
            ("passfile", "/dev/null/none"), ("service", ""),
        ]
        if let caFile = declaration.caFile { settings.append(("sslrootcert", caFile)) }
        if !declaration.host.hasPrefix("/") {
            // libpq would look the name up without a deadline; `host` remains what the certificate must be for.
            let addresses = try HostAddresses.look(up: declaration.host, within: limit)
            settings.append(("hostaddr", addresses.joined(separator: ",")))
            settings[0].1 = addresses.map { _ in declaration.host }.joined(separator: ",")
        }
        let started = Self.start(settings, password: password)
        guard let started else { throw PostgresFailure(state: nil, message: "out of memory") }
        // From here on `deinit` ends it, also when this initialiser throws.
        connection = started
        try connect(until: .now + limit)
        PQsetnonblocking(connection, 1)
        receiveNotices()
    }

    deinit { PQfinish(connection) }

    private static func start(_ settings: [(String, String)], password: Secret?) -> OpaquePointer? {
        var keys = settings.map { strdup($0.0) }
        var values = settings.map { strdup($0.1) }
        if let password, let text = strndup(password) {
            keys.append(strdup("password"))
            values.append(text)
        }
        defer {
            keys.forEach { free($0) }
            for value in values where value != nil {
                if let value { explicit_bzero(value, strlen(value)) }
                free(value)
            }
        }
        let keywords = (keys + [nil]).map { UnsafePointer($0) }
        let contents = (values + [nil]).map { UnsafePointer($0) }
        return PQconnectStartParams(keywords, contents, 0)
    }

    private static func strndup(_ secret: Secret) -> UnsafeMutablePointer<CChar>? {
        secret.withBytes { bytes in
            guard let copy = calloc(bytes.count + 1, 1) else { return nil }
            if let base = bytes.baseAddress { memcpy(copy, base, bytes.count) }
            return copy.assumingMemoryBound(to: CChar.self)
        }
    }

    private func connect(until end: ContinuousClock.Instant) throws {
        var state = PGRES_POLLING_WRITING
        while state != PGRES_POLLING_OK {
            guard state != PGRES_POLLING_FAILED, PQstatus(connection) != CONNECTION_BAD else { throw lastFailure() }
            guard try wait(reading: state == PGRES_POLLING_READING, writing: state == PGRES_POLLING_WRITING, until: end)
            else { throw PostgresFailure(state: nil, message: "no connection in time") }
            state = PQconnectPoll(connection)
        }
    }

    private func receiveNotices() {
        PQsetNoticeReceiver(
            connection,
            { context, result in
                guard let context, let text = PQresultErrorField(result, certs_pg_diag_message) else { return }
                let box = Unmanaged<NoticeBox>.fromOpaque(context).takeUnretainedValue()
                if box.lines.count < 100 {
                    box.lines.append(TerminalText.sanitized(String(cString: text), limit: 500))
                }
            }, Unmanaged.passUnretained(noticeBox).toOpaque())
    }

    // MARK: - Statements

    /// Runs one statement to its end.
    ///
    /// - Parameter limit: after which it is cancelled at the server.
    /// - Throws: ``PostgresFailure``; `cancelled` when interrupted.
    @discardableResult
    package func run(_ sql: SQL, within limit: Duration = .seconds(60)) throws -> PostgresResult {
        let (text, values) = try render(sql)
        var parameters = values.map { $0.flatMap { strdup($0) } }
        defer { parameters.forEach { free($0) } }
        let sent = parameters.withUnsafeMutableBufferPointer { buffer in
            let pointers = buffer.map { UnsafePointer($0) }
            return PQsendQueryParams(connection, text, Int32(pointers.count), nil, pointers, nil, nil, 0)
        }
        guard sent == 1 else { throw lastFailure() }
        let end = ContinuousClock.now + limit
        do {
            try flush(until: end)
            return try answer(until: end)
        } catch let stop as Stopped {
            try abandon(stop)
        }
    }

    /// Begins a transaction, runs `body`, and commits; rolls back if it throws.
    package func transaction<Value>(_ begin: SQL = "BEGIN", _ body: () throws -> Value) throws -> Value {
        try run(begin)
        do {
            let value = try body()
            try run("COMMIT")
            return value
        } catch {
            // The error that matters is the first one.
            if PQtransactionStatus(connection) != PQTRANS_UNKNOWN { _ = try? run("ROLLBACK") }
            throw error
        }
    }

    /// Whether the session can be used on.
    package var isUsable: Bool { PQstatus(connection) == CONNECTION_OK }
    /// Of the server, e.g. 150015.
    package var serverVersion: Int { Int(PQserverVersion(connection)) }

    private func render(_ sql: SQL) throws -> (String, [String?]) {
        var text = ""
        var values: [String?] = []
        for part in sql.parts {
            switch part {
            case .text(let literal): text += literal
            case .identifier(let name): text += try quoted(name)
            case .literal(let value): text += try quotedLiteral(value)
            case .value(let value):
                guard value?.utf8.contains(0) != true else {
                    throw PostgresFailure(state: nil, message: "a parameter has a NUL character")
                }
                values.append(value)
                text += "$\(values.count)"
            }
        }
        return (text, values)
    }

    private func quoted(_ identifier: String) throws -> String {
        guard !identifier.isEmpty, !identifier.utf8.contains(0),
            let quoted = PQescapeIdentifier(connection, identifier, identifier.utf8.count)
        else { throw PostgresFailure(state: nil, message: "'\(identifier)' cannot be an identifier") }
        defer { PQfreemem(quoted) }
        return String(cString: quoted)
    }

    private func quotedLiteral(_ text: String) throws -> String {
        guard !text.utf8.contains(0), let quoted = PQescapeLiteral(connection, text, text.utf8.count) else {
            throw PostgresFailure(state: nil, message: "a text has a NUL character")
        }
        defer { PQfreemem(quoted) }
        return String(cString: quoted)
    }

    private enum Stopped: Error { case byDeadline, byInterrupt }

    private func flush(until end: ContinuousClock.Instant) throws {
        while true {
            let rest = PQflush(connection)
            if rest == 0 { return }
            guard rest == 1 else { throw lastFailure() }
            guard try wait(reading: true, writing: true, until: end) else { throw Stopped.byDeadline }
            // The server may have to be read before it takes more.
            guard PQconsumeInput(connection) == 1 else { throw lastFailure() }
        }
    }

    private func answer(until end: ContinuousClock.Instant) throws -> PostgresResult {
        var last: PostgresResult?
        var failure: PostgresFailure?
        while true {
            while PQisBusy(connection) == 1 {
                guard try wait(reading: true, writing: false, until: end) else { throw Stopped.byDeadline }
                guard PQconsumeInput(connection) == 1 else { throw lastFailure() }
            }
            guard let result = PQgetResult(connection) else { break }
            defer { PQclear(result) }
            switch PQresultStatus(result) {
            case PGRES_COMMAND_OK, PGRES_TUPLES_OK: last = PostgresResult(result)
            default: failure = failure ?? Self.failure(result)
            }
        }
        if let failure { throw failure }
        guard let last else { throw lastFailure() }
        return last
    }

    /// Cancels at the server and waits for the end, so that the connection can be used on.
    private func abandon(_ stop: Stopped) throws -> Never {
        cancelAtServer()
        let end = ContinuousClock.now + Self.cancelGrace
        isEnding = true
        defer { isEnding = false }
        do {
            _ = try answer(until: end)
        } catch is Stopped {
            // Not even that: what is not answered ends with the connection.
            shutdown(PQsocket(connection), Int32(SHUT_RDWR))
        } catch is PostgresFailure {}
        switch stop {
        case .byInterrupt: throw CertsError(.cancelled, "the work was told to stop", subject: place, retry: .later)
        case .byDeadline: throw PostgresFailure(state: "57014", message: "cancelled: it took longer than it may")
        }
    }

    /// Over a connection of its own, which `PQcancel` makes without a deadline: on a thread that nobody waits for.
    private func cancelAtServer() {
        nonisolated(unsafe) let cancel = PQgetCancel(connection)
        guard cancel != nil else { return }
        Thread {
            var text = [CChar](repeating: 0, count: 256)
            PQcancel(cancel, &text, Int32(text.count))
            PQfreeCancel(cancel)
        }.start()
    }

    /// While a statement that is to stop is waited for.
    private var isEnding = false

    /// - Returns: whether the socket is ready before `end`.
    private func wait(reading: Bool, writing: Bool, until end: ContinuousClock.Instant) throws -> Bool {
        let socket = PQsocket(connection)
        guard socket >= 0 else { throw lastFailure() }
        let events = Int16((reading ? POLLIN : 0) | (writing ? POLLOUT : 0))
        while true {
            if !isEnding, interrupt.isSet { throw Stopped.byInterrupt }
            let left = end - ContinuousClock.now
            guard left > .zero else { return false }
            var entry = pollfd(fd: socket, events: events, revents: 0)
            // In short steps, so that an interrupt is seen soon.
            let step = Int32(min(100, left / .milliseconds(1) + 1))
            let count = poll(&entry, 1, step)
            if count > 0 { return true }
            guard count == 0 || errno == EINTR else { throw lastFailure() }
        }
    }

    private func lastFailure() -> PostgresFailure {
        let text = PQerrorMessage(connection).map { String(cString: $0) } ?? ""
        let line = text.trimmingCharacters(in: .whitespacesAndNewlines)
        return PostgresFailure(
            state: Self.loginState(line), message: line.isEmpty ? "the connection is lost" : line)
    }

    /// While it connects, libpq keeps the text of the server's error but not its code.
    private static func loginState(_ text: String) -> String? {
        guard let fatal = text.range(of: "FATAL:") else { return nil }
        let rest = text[fatal.upperBound...]
        if rest.contains("authentication failed") || rest.contains("pg_hba.conf") || rest.contains("role") {
            return "28000"
        }
        if rest.contains("database"), rest.contains("does not exist") { return "3D000" }
        return nil
    }

    private static func failure(_ result: OpaquePointer) -> PostgresFailure {
        func field(_ code: Int32) -> String? { PQresultErrorField(result, code).map { String(cString: $0) } }
        return PostgresFailure(
            state: field(certs_pg_diag_sqlstate), message: field(certs_pg_diag_message) ?? "no message",
            detail: field(certs_pg_diag_detail), constraint: field(certs_pg_diag_constraint))
    }
}
