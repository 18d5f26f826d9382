import CertsCore
import Foundation
import GRDB

/// What SQLite refused, as a sentence with the path and the next step; never with the statement or its arguments.
enum DatabaseFailure {
    static func error(_ error: any Error, path: String, fileID: String = #fileID, line: Int = #line) -> CertsError {
        if let known = error as? CertsError { return known }
        guard let failure = error as? DatabaseError else {
            if error is Unpacker.Malformed || error is DecodingError || error is RowDecodingError {
                return corrupt(path, "a row of it cannot be read")
            }
            return .wrapping(error, subject: path)
        }
        let reason = "SQLite error \(failure.extendedResultCode.rawValue)" + (failure.message.map { ": \($0)" } ?? "")
        switch failure.resultCode {
        case .SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_FORMAT, .SQLITE_SCHEMA, .SQLITE_MISMATCH, .SQLITE_CONSTRAINT,
            .SQLITE_ERROR:
            // SQLITE_ERROR after a successful migration means that a table or column is gone.
            return corrupt(path, reason)
        case .SQLITE_BUSY, .SQLITE_LOCKED, .SQLITE_PROTOCOL:
            return CertsError(
                .stateBusy, "the database \(path) is locked by another process", subject: path,
                hint: "`fuser \(path)` names it; try again when it is done", cause: Text(reason), retry: .later,
                fileID: fileID, line: line)
        // The index of the write-ahead log could not be made larger: SQLite says no more, and the cause is a full disk.
        case .SQLITE_IOERR where failure.extendedResultCode == .SQLITE_IOERR_SHMSIZE: fallthrough
        case .SQLITE_FULL:
            return unwritable(path, "no space is left on the device", "free space (`df \(path)`) and try again", reason)
        case .SQLITE_READONLY:
            return unwritable(path, "it is read-only", "check `ls -l \(path)*` and `findmnt -T \(path)`", reason)
        case .SQLITE_CANTOPEN, .SQLITE_PERM, .SQLITE_AUTH:
            return unwritable(
                path, "it cannot be opened", "check `ls -l \(path)*`, free inodes and `ulimit -n`", reason)
        case .SQLITE_IOERR:
            return unwritable(
                path, "the device reports an input/output error", "look at `dmesg`, check the disk and `ulimit -f`",
                reason)
        default:
            return CertsError(
                .internal, "the database \(path) failed (\(reason))", subject: path,
                hint: "report this with the command that you ran",
                retry: .later, fileID: fileID, line: line)
        }
    }

    static func corrupt(_ path: String, _ why: String) -> CertsError {
        CertsError(
            .stateCorrupt, "the database \(path) is damaged: \(why)", subject: path,
            hint: "make it again from the files with `certs status --rebuild`")
    }

    private static func unwritable(_ path: String, _ why: String, _ hint: String, _ reason: String) -> CertsError {
        CertsError(
            .fileUnwritable, "cannot write the database \(path): \(why)", subject: path, hint: hint,
            cause: Text(reason), retry: .later)
    }

    /// A cause that is only text.
    private struct Text: Error, CustomStringConvertible {
        let description: String
        init(_ description: String) { self.description = description }
    }
}
