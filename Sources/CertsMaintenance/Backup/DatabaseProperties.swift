import CertsCore
import Foundation

/// What belongs to a database and is in no dump of it: how it was made, its owner, its rights, its settings.
package struct DatabaseProperties: Codable, Sendable, Hashable {
    package struct Grant: Codable, Sendable, Hashable {
        /// `nil`: PUBLIC.
        package var role: String?
        package var privilege: String
        package var isGrantable: Bool
    }

    package struct Setting: Codable, Sendable, Hashable {
        /// `nil`: of all roles.
        package var role: String?
        package var name: String
        package var value: String
    }

    package var owner: String
    package var encoding: String
    package var collation: String
    package var characterType: String
    /// `nil`: the operating system's locales.
    package var icuLocale: String?
    package var connectionLimit: Int
    package var comment: String?
    package var grants: [Grant]
    package var settings: [Setting]

    /// Of the database that `session` is connected to. Blocking.
    static func read(_ session: PostgresSession) throws -> DatabaseProperties {
        let row =
            try session.run(
                """
                SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype,
                    CASE WHEN datlocprovider = 'i' THEN daticulocale END, datconnlimit, shobj_description(oid, 'pg_database')
                FROM pg_database WHERE datname = current_database()
                """
            ).rows.first ?? []
        guard row.count == 7 else { throw CertsError(.internal, "the database is not in its catalog") }
        let grants = try session.run(
            """
            SELECT CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee) END, a.privilege_type, a.is_grantable
            FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) a
            WHERE datname = current_database() ORDER BY 1, 2
            """)
        let settings = try session.run(
            """
            SELECT CASE WHEN s.setrole <> 0 THEN pg_get_userbyid(s.setrole) END, split_part(c, '=', 1),
                substr(c, strpos(c, '=') + 1)
            FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c
            WHERE d.datname = current_database() ORDER BY 1, 2
            """)
        return DatabaseProperties(
            owner: row[0] ?? "", encoding: row[1] ?? "", collation: row[2] ?? "", characterType: row[3] ?? "",
            icuLocale: row[4], connectionLimit: row[5].flatMap { Int($0) } ?? -1, comment: row[6],
            grants: grants.rows.map { Grant(role: $0[0], privilege: $0[1] ?? "", isGrantable: $0[2] == "t") },
            settings: settings.rows.map { Setting(role: $0[0], name: $0[1] ?? "", value: $0[2] ?? "") })
    }

    /// Gives `database`, which is called otherwise, all of it but the comment; its owner as well. Blocking.
    func apply(to database: String, _ session: PostgresSession) throws {
        try session.transaction {
            try session.run("ALTER DATABASE \(name: database) OWNER TO \(name: owner)")
            try session.run("REVOKE ALL ON DATABASE \(name: database) FROM PUBLIC")
            for grant in grants {
                let privilege = try Self.keyword(grant.privilege)
                let role: SQL = grant.role.map { "\(name: $0)" } ?? "PUBLIC"
                let option: SQL = grant.isGrantable && grant.role != nil ? " WITH GRANT OPTION" : ""
                try session.run("GRANT \(privilege) ON DATABASE \(name: database) TO \(role)\(option)")
            }
            for setting in settings {
                // Whatever its form is: the value as the session has it then.
                try session.run("SELECT set_config(\(value: setting.name), \(value: setting.value), true)")
                let name = try Self.settingName(setting.name)
                let subject: SQL =
                    setting.role.map { "ROLE \(name: $0) IN DATABASE \(name: database)" }
                    ?? "DATABASE \(name: database)"
                try session.run("ALTER \(subject) SET \(name) FROM CURRENT")
            }
        }
    }

    private static func keyword(_ privilege: String) throws -> SQL {
        switch privilege {
        case "CREATE": "CREATE"
        case "TEMPORARY", "TEMP": "TEMPORARY"
        case "CONNECT": "CONNECT"
        default: throw CertsError(.jobFailed, "the manifest names an unknown right on the database: \(privilege)")
        }
    }

    /// `search_path`, `myapp.level`.
    private static func settingName(_ text: String) throws -> SQL {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard parts.count <= 2, !parts.contains("") else {
            throw CertsError(.jobFailed, "the manifest names a setting that cannot be one: \(text)")
        }
        return parts.count == 1 ? "\(name: parts[0])" : "\(name: parts[0]).\(name: parts[1])"
    }
}
