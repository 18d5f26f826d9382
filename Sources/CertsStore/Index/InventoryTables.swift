package import CertsCore
package import Foundation
import GRDB

extension Database: Inventory {
    package func states() async throws -> [CertificateState] { try await compactMapStates { $0 } }

    package func compactMapStates<Value: Sendable>(
        _ transform: @escaping @Sendable (CertificateState) throws -> Value?
    ) async throws -> [Value] {
        try await read { database in
            let cursor = try Row.fetchCursor(database, sql: "SELECT packed FROM certificate ORDER BY name")
            var values: [Value] = []
            while let row = try cursor.next() {
                let state = try CertificateState(packed: try row.decode(atIndex: 0))
                if let value = try transform(state) { values.append(value) }
            }
            return values
        }
    }

    package func state(of certificate: Name) async throws -> CertificateState? {
        try await read { database in
            let sql = "SELECT packed FROM certificate WHERE name = ?"
            return try Data.fetchOne(database, sql: sql, arguments: [certificate.rawValue]).map(
                CertificateState.init(packed:))
        }
    }

    package func save(_ state: CertificateState) async throws {
        try await write { try Self.store(state, in: $0) }
    }

    /// Saves many states in one transaction: one sync of the disk for all.
    package func save(_ states: [CertificateState]) async throws {
        guard !states.isEmpty else { return }
        try await write { database in
            for state in states { try Self.store(state, in: database) }
        }
    }

    package func due(by date: Date) async throws -> [Name] {
        try await read { database in
            let sql = "SELECT name FROM certificate WHERE due_at <= ? ORDER BY due_at, name"
            return try String.fetchAll(database, sql: sql, arguments: [date.column]).map { try Name($0) }
        }
    }

    package func hintChecks(by date: Date) async throws -> [Name] {
        try await read { database in
            let sql = "SELECT name FROM certificate WHERE hint_check_at <= ? ORDER BY hint_check_at, name"
            return try String.fetchAll(database, sql: sql, arguments: [date.column]).map { try Name($0) }
        }
    }

    package func nextHintCheck() async throws -> Date? {
        try await read { database in
            let sql = "SELECT min(hint_check_at) FROM certificate WHERE hint_check_at IS NOT NULL"
            return try Double.fetchOne(database, sql: sql).map { Date(timeIntervalSince1970: $0) }
        }
    }

    package func scannedFiles() async throws -> [ScannedFile] {
        try await read { database in
            let sql = "SELECT path, device, inode, size, modified, changed, problem, packed FROM file ORDER BY path"
            let cursor = try Row.fetchCursor(database, sql: sql)
            var files: [ScannedFile] = []
            while let row = try cursor.next() { files.append(try ScannedFile(row: row)) }
            return files
        }
    }

    package func scannedStamps() async throws -> [String: FileStamp] {
        try await read { database in
            let sql = "SELECT path, device, inode, size, modified, changed FROM file"
            let cursor = try Row.fetchCursor(database, sql: sql)
            var stamps: [String: FileStamp] = [:]
            while let row = try cursor.next() { stamps[try row.decode(atIndex: 0)] = try FileStamp(row: row) }
            return stamps
        }
    }

    /// Paths that are not at or below `root` are refused: a scan of one directory says nothing of another.
    package func replaceScannedFiles(below root: String, changed: [ScannedFile], removed: [String]) async throws {
        let prefix = root.hasSuffix("/") ? root : root + "/"
        if let stray = (changed.map(\.path) + removed).first(where: { $0 != root && !$0.hasPrefix(prefix) }) {
            throw CertsError(.internal, "\(stray) is not below \(root)", subject: stray)
        }
        guard !changed.isEmpty || !removed.isEmpty else { return }
        try await write { database in
            let deletion = try database.makeStatement(sql: "DELETE FROM file WHERE path = ?")
            for path in removed { try deletion.execute(arguments: [path]) }
            let insertion = try database.makeStatement(
                sql: """
                    INSERT OR REPLACE INTO file
                        (path, device, inode, size, modified, changed, problem, sha256, not_after, packed)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                    """)
            for file in changed { try insertion.execute(arguments: file.columns) }
        }
    }

    static func store(_ state: CertificateState, in database: GRDB.Database) throws {
        let sql = """
            INSERT OR REPLACE INTO certificate (name, revision, due_at, not_after, hint_check_at, packed)
            VALUES (?, ?, ?, ?, ?, ?)
            """
        try database.cachedStatement(sql: sql).execute(
            arguments: [
                state.name.rawValue, state.revision, state.dueAt?.column, state.intendedRecord?.notAfter.column,
                state.hintCheck?.at.column, try state.packed(),
            ])
    }
}

extension FileStamp {
    /// From a row that begins with path, device, inode, size, modified, changed.
    fileprivate init(row: Row) throws {
        self.init(
            device: UInt64(bitPattern: try row.decode(Int64.self, atIndex: 1)),
            inode: UInt64(bitPattern: try row.decode(Int64.self, atIndex: 2)), size: try row.decode(atIndex: 3),
            modified: try row.decode(atIndex: 4), changed: try row.decode(atIndex: 5))
    }
}

extension ScannedFile {
    fileprivate var columns: StatementArguments {
        let packed = record.map { record in
            var packer = Packer()
            packer.put(CertificateRecord.packingVersion)
            record.pack(into: &packer)
            return Data(packer.bytes)
        }
        return [
            path, Int64(bitPattern: stamp.device), Int64(bitPattern: stamp.inode), stamp.size, stamp.modified,
            stamp.changed, problem,
            record?.sha256, record?.notAfter.column, packed,
        ]
    }

    fileprivate init(row: Row) throws {
        let stamp = try FileStamp(row: row)
        let record = try row.decode(Data?.self, atIndex: 7).map { packed in
            try packed.withUnsafeBytes { bytes in
                var unpacker = Unpacker(bytes)
                guard try unpacker.int() == CertificateRecord.packingVersion else { throw Unpacker.Malformed() }
                return try CertificateRecord(from: &unpacker)
            }
        }
        self.init(path: try row.decode(atIndex: 0), stamp: stamp, record: record, problem: try row.decode(atIndex: 6))
    }
}
