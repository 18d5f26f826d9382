import CertsCore
import CertsPrograms
import Foundation

/// `pg_dump` and its siblings, of one version, pointed at one server.
struct PostgresClient: Sendable {
    let access: DatabaseAccess
    /// `nil`: through `PATH`.
    let directory: String?
    /// As `pg_dump --version` ends: `15.20 (Debian 15.20-0+deb12u1)`.
    let version: String
    /// Of each stream, in bytes.
    private static let outputLimit = 1 << 20

    /// The first number of a version.
    static func major(_ version: String) -> Int? {
        Int(version.prefix { $0.isASCII && $0.isNumber })
    }

    /// Looks for programs that the server can be dumped with, before anything else is done.
    ///
    /// - Parameter server: the version of the server, e.g. 150020.
    /// - Throws: `job.refused` when they are older than the server, or not of one version.
    static func find(
        _ declared: String?, server: Int, access: DatabaseAccess, _ control: JobControl
    ) async throws -> PostgresClient {
        let usual = "/usr/lib/postgresql/\(server / 10000)/bin"
        let directory =
            declared ?? (FileManager.default.isExecutableFile(atPath: "\(usual)/pg_dump") ? usual : nil)
        let dump = try await version(of: "pg_dump", in: directory, control)
        let restore = try await version(of: "pg_restore", in: directory, control)
        let hint = "install the client of version \(server / 10000), and name its directory in `clientDirectory`"
        guard let found = major(dump), found == major(restore) else {
            throw CertsError(
                .jobRefused, "pg_dump is \(dump) and pg_restore is \(restore)", subject: access.place, hint: hint)
        }
        guard found >= server / 10000 else {
            throw CertsError(
                .jobRefused, "pg_dump is \(dump), older than the server (\(server / 10000)): it cannot dump it",
                subject: access.place, hint: hint)
        }
        return PostgresClient(access: access, directory: directory, version: dump)
    }

    private static func version(of name: String, in directory: String?, _ control: JobControl) async throws -> String {
        let path = directory.map { "\($0)/\(name)" } ?? name
        let program = Program([path, "--version"], deadline: min(control.left, .seconds(30)), outputLimit: 4096)
        do {
            // pg_dump (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)
            let words = String(decoding: try await program.run(), as: UTF8.self).split(whereSeparator: \.isWhitespace)
            guard words.count >= 3, words[0].hasSuffix(name), words[1] == "(PostgreSQL)", major(String(words[2])) != nil
            else { throw ProgramFailure.failed(status: "no version", words: words.joined(separator: " ")) }
            return TerminalText.sanitized(words.dropFirst(2).joined(separator: " "), limit: 100)
        } catch let failure as ProgramFailure {
            throw failure.certsError(
                .jobRefused, "'\(path) --version'", subject: access(directory),
                hint: "install postgresql-client, or name its directory in `clientDirectory`")
        }
    }

    private static func access(_ directory: String?) -> String { directory ?? "PATH" }

    /// Runs one of them to its end, or to that of `control`.
    ///
    /// - Parameters:
    ///   - database: to connect to; `nil`: none.
    ///   - passfile: holds the password while it runs.
    func run(
        _ name: String, _ arguments: [String], to database: String? = nil, passfile: Passfile? = nil,
        _ control: JobControl
    ) async throws {
        var words = [directory.map { "\($0)/\(name)" } ?? name] + arguments
        if let database { words += ["--no-password", "--dbname=\(connection(to: database, passfile))"] }
        let program = Program(words, deadline: control.left, outputLimit: Self.outputLimit)
        do {
            try await program.run()
        } catch let failure as ProgramFailure {
            throw failure.certsError(
                .jobFailed, name, subject: database ?? access.declaration.name,
                hint:
                    "its messages are those of PostgreSQL: the rights of the role, the space on the disk, the server's log"
            )
        }
    }

    /// A connection string (PostgreSQL manual, "Connection Strings"); never with a password in it.
    private func connection(to database: String, _ passfile: Passfile?) -> String {
        let server = access.declaration
        var settings = [
            ("host", server.host), ("port", String(server.port)), ("dbname", database), ("user", server.user),
            ("sslmode", server.host.hasPrefix("/") ? "disable" : server.tls.rawValue),
            ("passfile", passfile?.path ?? "/dev/null/none"), ("connect_timeout", "20"),
            ("application_name", "certs:backup"), ("keepalives_idle", "30"), ("keepalives_interval", "10"),
            ("keepalives_count", "3"),
        ]
        if let caFile = server.caFile { settings.append(("sslrootcert", caFile)) }
        return settings.map { key, value in
            "\(key)='\(value.replacing("\\", with: "\\\\").replacing("'", with: "\\'"))'"
        }.joined(separator: " ")
    }
}
