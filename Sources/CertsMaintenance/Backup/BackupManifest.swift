package import Foundation

/// What a backup says of itself: `manifest.json` in its directory. `SHA256SUMS` beside it covers it and all files.
package struct BackupManifest: Codable, Sendable, Hashable {
    package struct File: Codable, Sendable, Hashable {
        /// Relative to the backup.
        package var path: String
        package var bytes: Int
    }

    package var schema = 1
    package var database: String
    /// As the server calls itself.
    package var systemIdentifier: String
    /// Whose state it shows: the moment of the snapshot.
    package var takenAt: Date
    package var seconds: Double
    /// `150020`.
    package var serverVersion: Int
    /// Of `pg_dump`, e.g. `15.20 (Debian 15.20-0+deb12u1)`.
    package var client: String
    /// `custom` or `directory`.
    package var format: String
    /// Whether the roles are there with their passwords: only a superuser can read these.
    package var hasPasswords: Bool
    /// Of the database on the server, in bytes.
    package var databaseBytes: Int
    package var files: [File]
    package var content: DatabaseContent
    package var properties: DatabaseProperties

    package var bytes: Int { files.reduce(0) { $0 + $1.bytes } }

    static let fileName = "manifest.json"
    static let sumsName = "SHA256SUMS"
    static let globalsName = "globals.sql"
    static let schemaName = "schema.sql"
    static let dumpName = "database.dump"
    static let dumpFolder = "database"

    /// The archive in a backup.
    var archive: String { format == "directory" ? Self.dumpFolder : Self.dumpName }
}

/// `NAME-20261125T020000Z`: the directory of one backup.
struct BackupName: Sendable, Hashable, CustomStringConvertible {
    let prefix: String
    let time: Date

    /// A database may be called anything; a directory is not.
    static func prefix(of database: String) -> String {
        String(
            database.prefix(80).map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") ? $0 : "_" })
    }

    init(_ database: String, at time: Date) {
        prefix = Self.prefix(of: database)
        self.time = time
    }

    /// `nil`: not a backup of this database.
    init?(_ text: String, of database: String) {
        let prefix = Self.prefix(of: database)
        guard text.hasPrefix("\(prefix)-"), let time = Self.time(text.dropFirst(prefix.count + 1)) else { return nil }
        self.prefix = prefix
        self.time = time
    }

    var description: String { "\(prefix)-\(Self.stamp(time))" }

    /// UTC, to the second.
    static func stamp(_ date: Date) -> String {
        var seconds = time_t(date.timeIntervalSince1970.rounded(.down))
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(parts.tm_year + 1900)\(two(parts.tm_mon + 1))\(two(parts.tm_mday))T\(two(parts.tm_hour))"
            + "\(two(parts.tm_min))\(two(parts.tm_sec))Z"
    }

    private static func time(_ text: Substring) -> Date? {
        let letters = Array(text.utf8)
        guard letters.count == 16, letters[8] == UInt8(ascii: "T"), letters[15] == UInt8(ascii: "Z") else { return nil }
        func number(_ range: Range<Int>) -> Int32? {
            let part = letters[range]
            guard part.allSatisfy({ (48...57).contains($0) }) else { return nil }
            return part.reduce(0) { $0 * 10 + Int32($1 - 48) }
        }
        guard let year = number(0..<4), let month = number(4..<6), let day = number(6..<8), let hour = number(9..<11),
            let minute = number(11..<13), let second = number(13..<15)
        else { return nil }
        var parts = tm()
        (parts.tm_year, parts.tm_mon, parts.tm_mday) = (year - 1900, month - 1, day)
        (parts.tm_hour, parts.tm_min, parts.tm_sec) = (hour, minute, second)
        let date = Date(timeIntervalSince1970: TimeInterval(timegm(&parts)))
        return stamp(date) == text ? date : nil
    }
}

/// `restore-test.json` in a backup: how the last restore of it came out.
package struct RestoreTestRecord: Codable, Sendable, Hashable {
    package var at: Date
    /// From the making of the scratch database to the end of the comparison.
    package var seconds: Double
    /// Age of the backup then, in seconds.
    package var age: Double
    /// Empty: it came out as it was.
    package var differences: [String]

    static let fileName = "restore-test.json"
}

/// `offsite.json` in a backup: it was copied.
struct OffsiteRecord: Codable, Sendable {
    var at: Date

    static let fileName = "offsite.json"
}
