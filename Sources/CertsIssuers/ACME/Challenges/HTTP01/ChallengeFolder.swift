import CertsCore
import Foundation

/// The directory that another web server serves below `/.well-known/acme-challenge/`: one file for each proof, named after
/// its token.
///
/// Other users can read the files and perhaps write beside them, so nothing is followed: no link in place of the file, no
/// token with anything but base64url characters. All calls block for a moment.
struct ChallengeFolder: Sendable {
    let path: String

    /// Writes `DIRECTORY/TOKEN` (0644) whole or not at all.
    /// - Throws: `file.missing` for a directory that is not there, `file.unwritable`, `issuer.refused` for a bad token.
    func write(_ contents: String, token: String) throws(CertsError) {
        let token = try ChallengeToken.validated(token)
        try withDirectory { (directory) throws(CertsError) in
            // Not base64url, so it is nobody's token, and no web server shows it under one.
            let temporary = ".\(token).tmp"
            unlinkat(directory, temporary, 0)
            let file = openat(directory, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o644)
            guard file >= 0 else { throw failure(errno) }
            let code = Self.fill(file, contents)
            close(file)
            if code == 0, renameat(directory, temporary, directory, token) == 0 { return }
            let reason = code == 0 ? errno : code
            unlinkat(directory, temporary, 0)
            throw failure(reason)
        }
    }

    /// Removes `DIRECTORY/TOKEN`, if it is there.
    func remove(token: String) throws(CertsError) {
        let token = try ChallengeToken.validated(token)
        do throws(CertsError) {
            try withDirectory { (directory) throws(CertsError) in
                unlinkat(directory, ".\(token).tmp", 0)
                if unlinkat(directory, token, 0) != 0, errno != ENOENT { throw failure(errno) }
            }
        } catch  where error.code == .fileMissing {
            // Then the file is not there either.
        }
    }

    /// - Returns: the code of the failure, or 0.
    private static func fill(_ file: Int32, _ contents: String) -> Int32 {
        // The umask of the service must not keep the web server out.
        guard fchmod(file, 0o644) == 0 else { return errno }
        var rest = Array(contents.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Foundation.write(file, $0.baseAddress, $0.count) }
            if count < 0, errno != EINTR { return errno }
            rest = rest.dropFirst(max(0, count))
        }
        return 0
    }

    private func withDirectory(_ body: (Int32) throws(CertsError) -> Void) throws(CertsError) {
        let directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else {
            guard errno == ENOENT else { throw failure(errno) }
            throw CertsError(
                .fileMissing, "there is no directory \(path) for the answers to challenges", subject: path,
                hint: "make it, and let the web server serve it below \(ChallengeToken.pathPrefix)")
        }
        defer { close(directory) }
        try body(directory)
    }

    private func failure(_ code: Int32) -> CertsError {
        CertsError(
            .fileUnwritable, "cannot write an answer to a challenge into \(path): \(String(cString: strerror(code)))",
            subject: path, hint: "give the user that runs `certs` the right to write there", retry: .later)
    }
}
