package import CertsCore
import Foundation
import GRDB

extension Database: WatchInventory {
    package func scannedFiles() async throws -> [ScannedFile] {
        try await read { database in
            let cursor = try Row.fetchCursor(database, sql: "\(ScannedFile.selection) ORDER BY path")
            var files: [ScannedFile] = []
            while let row = try cursor.next() { files.append(try ScannedFile(row: row)) }
            return files
        }
    }

    package func forEachScannedFile(_ body: @escaping @Sendable (ScannedFile) throws -> Void) async throws {
        try await read { database in
            let cursor = try Row.fetchCursor(database, sql: "\(ScannedFile.selection) ORDER BY path")
            while let row = try cursor.next() { try body(try ScannedFile(row: row)) }
        }
    }

    package func scannedFiles(at paths: [String]) async throws -> [ScannedFile] {
        guard !paths.isEmpty else { return [] }
        return try await read { database in
            let statement = try database.makeStatement(sql: "\(ScannedFile.selection) WHERE path = ?")
            return try paths.compactMap { path in
                try Row.fetchOne(statement, arguments: [path]).map(ScannedFile.init(row:))
            }
        }
    }

    package func knownFiles() async throws -> [PathKey: ScannedFile.Known] {
        try await read { database in
            let sql = "SELECT path, device, inode, size, modified, changed, problem, source, is_settled FROM file"
            let cursor = try Row.fetchCursor(database, sql: sql)
            var known: [PathKey: ScannedFile.Known] = [:]
            while let row = try cursor.next() {
                known[PathKey(try row.decode(atIndex: 0))] = ScannedFile.Known(
                    source: try row.decode(String?.self, atIndex: 7).map { try Name($0) },
                    stamp: try FileStamp(row: row), isSettled: try row.decode(atIndex: 8),
                    problem: WatchReason(stored: try row.decode(atIndex: 6)))
            }
            return known
        }
    }

    /// Paths that are not at or below `root` are refused: a scan of one directory says nothing of another.
    package func replaceScannedFiles(
        below root: String, changed: [ScannedFile], removed: [String], source: WatchSourceRecord,
        errors: [WatchReason: Int]
    ) async throws {
        if let stray = (changed.map(\.path) + removed).first(where: {
            PathKey($0) != PathKey(root) && $0.path(below: root) == nil
        }) {
            throw CertsError(.internal, "\(stray) is not below \(root)", subject: stray)
        }
        try await write { database in
            let deletion = try database.makeStatement(sql: "DELETE FROM file WHERE path = ?")
            for path in removed { try deletion.execute(arguments: [path]) }
            let insertion = try database.makeStatement(
                sql: """
                    INSERT INTO file
                        (path, device, inode, size, modified, changed, problem, sha256, not_after, packed, source,
                         is_settled, digest, chain_not_after, chain_valid)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                    ON CONFLICT (path) DO UPDATE SET device = excluded.device, inode = excluded.inode,
                        size = excluded.size, modified = excluded.modified, changed = excluded.changed,
                        problem = excluded.problem, sha256 = excluded.sha256, not_after = excluded.not_after,
                        packed = excluded.packed, source = coalesce(excluded.source, file.source),
                        is_settled = excluded.is_settled, digest = excluded.digest,
                        chain_not_after = excluded.chain_not_after, chain_valid = excluded.chain_valid
                    """)
            for file in changed { try insertion.execute(arguments: file.columns) }
            try Self.record(source, errors, in: database)
        }
    }

    package func sightings() async throws -> [EndpointSighting] {
        try await read { database in
            let sql = """
                SELECT label, address, problem, chain_not_after, chain_valid, stapled, staple_next_update, observed_at,
                    packed
                FROM watched_endpoint ORDER BY label
                """
            return try Row.fetchAll(database, sql: sql).map(EndpointSighting.init(row:))
        }
    }

    package func save(
        _ sightings: [EndpointSighting], source: WatchSourceRecord, errors: [WatchReason: Int]
    ) async throws {
        try await write { database in
            let insertion = try database.makeStatement(
                sql: """
                    INSERT OR REPLACE INTO watched_endpoint
                        (label, address, problem, chain_not_after, chain_valid, stapled, staple_next_update,
                         observed_at, packed)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                    """)
            for sighting in sightings { try insertion.execute(arguments: sighting.columns) }
            try Self.record(source, errors, in: database)
        }
    }

    package func forgetWatched(except sources: [Name], endpoints: [String]) async throws {
        try await write { database in
            let (known, labels) = (Set(sources.map(\.rawValue)), Set(endpoints))
            let gone = try String.fetchAll(database, sql: "SELECT DISTINCT source FROM file WHERE source IS NOT NULL")
            for source in gone where !known.contains(source) {
                try database.execute(sql: "DELETE FROM file WHERE source = ?", arguments: [source])
            }
            for label in try String.fetchAll(database, sql: "SELECT label FROM watched_endpoint")
            where !labels.contains(label) {
                try database.execute(sql: "DELETE FROM watched_endpoint WHERE label = ?", arguments: [label])
            }
        }
    }

    package func watchSources() async throws -> [WatchSourceRecord] {
        try await read { database in
            let sql = "SELECT name, is_up, problem, looked_at FROM watch_source ORDER BY name"
            return try Row.fetchAll(database, sql: sql).map { row in
                WatchSourceRecord(
                    name: try row.decode(atIndex: 0), isUp: try row.decode(atIndex: 1),
                    problem: WatchReason(stored: try row.decode(atIndex: 2)),
                    lookedAt: Date(timeIntervalSince1970: try row.decode(atIndex: 3)))
            }
        }
    }

    package func watchErrors() async throws -> [WatchErrorCount] {
        try await read { database in
            let sql = "SELECT source, reason, count FROM watch_error ORDER BY source, reason"
            return try Row.fetchAll(database, sql: sql).compactMap { row in
                guard let reason = WatchReason(rawValue: try row.decode(atIndex: 1)) else { return nil }
                return WatchErrorCount(
                    source: try row.decode(atIndex: 0), reason: reason, count: try row.decode(atIndex: 2))
            }
        }
    }

    private static func record(
        _ source: WatchSourceRecord, _ errors: [WatchReason: Int], in database: GRDB.Database
    ) throws {
        try database.execute(
            sql: "INSERT OR REPLACE INTO watch_source (name, is_up, problem, looked_at) VALUES (?, ?, ?, ?)",
            arguments: [source.name, source.isUp, source.problem?.rawValue, source.lookedAt.column])
        for (reason, count) in errors where count > 0 {
            try database.execute(
                sql: """
                    INSERT INTO watch_error (source, reason, count) VALUES (?, ?, ?)
                    ON CONFLICT (source, reason) DO UPDATE SET count = count + excluded.count
                    """, arguments: [source.name, reason.rawValue, count])
        }
    }
}

extension WatchReason {
    /// A word that this version does not know is still a problem.
    fileprivate init?(stored: String?) {
        guard let stored else { return nil }
        self = WatchReason(rawValue: stored) ?? .readFailed
    }
}

extension CertificateRecord {
    fileprivate var column: Data {
        var packer = Packer()
        packer.put(CertificateRecord.packingVersion)
        pack(into: &packer)
        return Data(packer.bytes)
    }

    fileprivate init(column: Data) throws {
        self = try column.withUnsafeBytes { bytes in
            var unpacker = Unpacker(bytes)
            guard try unpacker.int() == CertificateRecord.packingVersion else { throw Unpacker.Malformed() }
            return try CertificateRecord(from: &unpacker)
        }
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
    fileprivate static let selection = """
        SELECT path, device, inode, size, modified, changed, problem, packed, source, is_settled, digest,
            chain_not_after, chain_valid
        FROM file
        """

    fileprivate var columns: StatementArguments {
        [
            path, Int64(bitPattern: stamp.device), Int64(bitPattern: stamp.inode), stamp.size, stamp.modified,
            stamp.changed, facts.problem?.rawValue, record?.sha256, record?.notAfter.column, record?.column,
            source?.rawValue, isSettled, digest, facts.chainNotAfter?.column, facts.isChainValid,
        ]
    }

    fileprivate init(row: Row) throws {
        self.init(
            path: try row.decode(atIndex: 0), source: try row.decode(String?.self, atIndex: 8).map { try Name($0) },
            stamp: try FileStamp(row: row), isSettled: try row.decode(atIndex: 9), digest: try row.decode(atIndex: 10),
            facts: WatchedFacts(
                record: try row.decode(Data?.self, atIndex: 7).map(CertificateRecord.init(column:)),
                chainNotAfter: try row.decode(Double?.self, atIndex: 11).map { Date(timeIntervalSince1970: $0) },
                isChainValid: try row.decode(atIndex: 12), problem: WatchReason(stored: try row.decode(atIndex: 6))))
    }
}

extension EndpointSighting {
    fileprivate var columns: StatementArguments {
        [
            label, address, facts.problem?.rawValue, facts.chainNotAfter?.column, facts.isChainValid, stapled?.rawValue,
            stapleNextUpdate?.column, observedAt.column, facts.record?.column,
        ]
    }

    fileprivate init(row: Row) throws {
        func date(_ index: Int) throws -> Date? {
            try row.decode(Double?.self, atIndex: index).map { Date(timeIntervalSince1970: $0) }
        }
        self.init(
            label: try row.decode(atIndex: 0), address: try row.decode(atIndex: 1),
            facts: WatchedFacts(
                record: try row.decode(Data?.self, atIndex: 8).map(CertificateRecord.init(column:)),
                chainNotAfter: try date(3), isChainValid: try row.decode(atIndex: 4),
                problem: WatchReason(stored: try row.decode(atIndex: 2))),
            stapled: try row.decode(String?.self, atIndex: 5).flatMap(StapledStatus.init(rawValue:)),
            stapleNextUpdate: try date(6), observedAt: Date(timeIntervalSince1970: try row.decode(atIndex: 7)))
    }
}
