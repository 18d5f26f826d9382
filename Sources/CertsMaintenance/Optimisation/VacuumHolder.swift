import CertsCore
import Foundation

/// Who may still see old rows, and so keeps VACUUM from removing them.
package struct VacuumHolder: Sendable, Hashable {
    package enum Kind: String, Sendable, Hashable, Codable { case transaction, slot, prepared }

    package let kind: Kind
    /// The process id, the name of the slot, the name of the prepared transaction.
    package let name: String
    /// User and application, or what kind of slot it is; empty where the role may not see it.
    package let detail: String
    /// How long it has been there, in seconds; `nil`: not known.
    package let seconds: Double?
    /// How many transactions have begun since.
    package let transactions: Int

    /// For people: `the transaction of process 123 (app, psql), 40 min old`.
    package var text: String {
        let age = seconds.map { ", \(Self.duration($0)) old" } ?? ", \(transactions) transactions old"
        let more = detail.isEmpty ? "" : " (\(detail))"
        let what =
            switch kind {
            case .transaction: "the transaction of process \(name)"
            case .slot: "the replication slot \(name)"
            case .prepared: "the prepared transaction \(name)"
            }
        return TerminalText.sanitized(what + more + age, limit: 300)
    }

    private static func duration(_ seconds: Double) -> String {
        switch seconds {
        case ..<120: "\(Int(seconds)) s"
        case ..<7200: "\(Int(seconds / 60)) min"
        case ..<172_800: "\(Int(seconds / 3600)) h"
        default: "\(Int(seconds / 86400)) d"
        }
    }

    /// All of them, the oldest first, but for this session.
    ///
    /// A snapshot holds back what is in its own database; a slot and a standby hold back all (PostgreSQL 14 and newer).
    static func look(in session: PostgresSession) throws -> [VacuumHolder] {
        try session.run(
            """
            SELECT 'transaction', a.pid::text, concat_ws(', ', a.usename, nullif(a.application_name, '')),
                extract(epoch FROM clock_timestamp() - a.xact_start)::text,
                greatest(age(a.backend_xmin), age(a.backend_xid))::text AS old
            FROM pg_catalog.pg_stat_activity a
            WHERE a.pid <> pg_backend_pid() AND (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL)
                AND (a.datname = current_database() OR a.datname IS NULL OR a.backend_type = 'walsender')
            UNION ALL
            SELECT 'slot', s.slot_name, s.slot_type || CASE WHEN s.active THEN ', active' ELSE ', inactive' END, NULL,
                greatest(age(s.xmin), age(s.catalog_xmin))::text
            FROM pg_catalog.pg_replication_slots s WHERE s.xmin IS NOT NULL OR s.catalog_xmin IS NOT NULL
            UNION ALL
            SELECT 'prepared', p.gid, p.owner, extract(epoch FROM clock_timestamp() - p.prepared)::text,
                age(p.transaction)::text
            FROM pg_catalog.pg_prepared_xacts p WHERE p.database = current_database()
            """
        ).rows.compactMap { row in
            guard row.count == 5, let kind = row[0].flatMap({ Kind(rawValue: $0) }), let name = row[1] else {
                return nil
            }
            return VacuumHolder(
                kind: kind, name: name, detail: row[2] ?? "", seconds: row[3].flatMap { Double($0) },
                transactions: row[4].flatMap { Int($0) } ?? 0)
        }.sorted { ($0.transactions, $0.seconds ?? 0) > ($1.transactions, $1.seconds ?? 0) }
    }
}
