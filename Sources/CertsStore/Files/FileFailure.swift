import CertsCore
import Foundation
import SystemPackage

/// What the kernel refused, as a sentence with the path and the next step.
enum FileFailure {
    /// A file or directory could not be written, made, renamed or synced.
    static func unwritable(_ path: String, _ error: any Error, fileID: String = #fileID, line: Int = #line)
        -> CertsError
    {
        guard let code = error as? Errno else { return .wrapping(error, subject: path) }
        let (why, hint) = explanation(of: code, path: path)
        return CertsError(
            .fileUnwritable, "cannot write \(path): \(why)", subject: path, hint: hint, cause: code, retry: .later,
            fileID: fileID, line: line)
    }

    /// A file or directory could not be read.
    static func unreadable(_ path: String, _ error: any Error, fileID: String = #fileID, line: Int = #line)
        -> CertsError
    {
        guard let code = error as? Errno else { return .wrapping(error, subject: path) }
        let (why, hint) = explanation(of: code, path: path)
        return CertsError(
            .fileUnreadable, "cannot read \(path): \(why)", subject: path, hint: hint, cause: code, retry: .later,
            fileID: fileID, line: line)
    }

    /// A symbolic link stands where this program only ever makes files and directories.
    static func link(_ path: String) -> CertsError {
        CertsError(
            .stateInsecure, "\(path) is a symbolic link", subject: path,
            hint: "remove the link and put the real file or directory in its place")
    }

    private static func explanation(of code: Errno, path: String) -> (why: String, hint: String) {
        let directory = (path as NSString).deletingLastPathComponent
        switch code {
        case .noSpace:
            return (
                "no space is left on the device",
                "free space or inodes (`df \(directory)`, `df -i \(directory)`) and try again"
            )
        case .diskQuotaExceeded: return ("the disk quota is used up", "free space or raise the quota, and try again")
        case .fileTooLarge:
            return (
                "the file size limit of this process is too low", "raise `ulimit -f` (LimitFSIZE= in a systemd unit)"
            )
        case .readOnlyFileSystem:
            return ("the file system is read-only", "mount it read-write (`findmnt -T \(directory)` shows it)")
        case .permissionDenied, .notPermitted:
            return (
                "permission denied for uid \(geteuid())",
                "run as the owner of the directory, or check `ls -ld \(directory)` and `lsattr -d \(directory)`"
            )
        case .ioError:
            return (
                "the device reports an input/output error", "look at `dmesg` and check the disk before trying again"
            )
        case .noSuchFileOrDirectory:
            return ("there is no such file or directory", "check the path; `ls -ld \(directory)` shows what is there")
        case .notDirectory:
            return ("a part of the path is not a directory", "check each part of the path with `namei -l \(path)`")
        case .tooManySymbolicLinkLevels:
            return ("a part of the path is a symbolic link", "check each part of the path with `namei -l \(path)`")
        case .tooManyOpenFiles, .tooManyOpenFilesInSystem:
            return ("too many files are open", "raise `ulimit -n` (LimitNOFILE= in a systemd unit) and try again")
        case .fileNameTooLong: return ("the name is too long", "use a shorter file name")
        case .isDirectory: return ("it is a directory", "name a file")
        default: return ("\(code)", "check `namei -l \(path)` and try again")
        }
    }
}
