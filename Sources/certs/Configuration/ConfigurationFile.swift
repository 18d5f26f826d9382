import CertsCore
import CertsStore
import Foundation
import Yams

/// The configuration file: YAML in, checked declarations out.
enum ConfigurationFile {
    /// The version of the format that this program reads.
    static let version = 1
    static let maximumSize = 1 << 20

    /// Reads and checks the file at `path`.
    ///
    /// Blocks on the disk. Relative paths in the file are resolved against the directory that it is in.
    ///
    /// - Throws: ``CertsError/Code/configurationInvalid`` with every problem as `FILE:LINE:COLUMN: what; what to write`
    ///   in `details`; ``CertsError/Code/fileMissing``, ``CertsError/Code/fileUnreadable`` or
    ///   ``CertsError/Code/fileTooLarge`` if there is no text to check.
    static func load(path: String) throws(CertsError) -> Declarations {
        let bytes = try read(path)
        return try parse(bytes, path: path)
    }

    /// Checks `bytes` as the content of the file at `path`, which need not exist.
    static func parse(_ bytes: [UInt8], path: String) throws(CertsError) -> Declarations {
        let problems = ConfigurationProblems(file: path)
        guard let text = ConfigurationText.decode(bytes, problems), let root = ConfigurationText.compose(text, problems)
        else {
            throw problems.error()
        }
        let base = URL(fileURLWithPath: path).deletingLastPathComponent().path
        var reader = ConfigurationReader(base: base, problems: problems)
        let declarations = reader.read(root)
        guard problems.isEmpty, let declarations else { throw problems.error() }
        return declarations
    }

    private static func read(_ path: String) throws(CertsError) -> [UInt8] {
        guard !path.utf8.contains(0) else {
            throw CertsError(.fileMissing, "the path of the configuration file contains a NUL character")
        }
        // O_NONBLOCK: a FIFO in place of the file must not hang the program.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw unreadable(path, errno) }
        defer { close(descriptor) }
        guard let kind = PathKind(of: descriptor) else { throw unreadable(path, errno) }
        guard case .file(let size) = kind else {
            let kind = kind == .directory ? "a directory" : "not a regular file"
            throw CertsError(
                .fileUnreadable, "\(path) is \(kind), not a configuration file", subject: path,
                hint: "name the file itself, for instance with --config \(path)/certs.yml")
        }
        guard size <= maximumSize else { throw tooLarge(path) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = Foundation.read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw unreadable(path, errno) }
            if count == 0 { return bytes }
            bytes += buffer[..<count]
            // The file may have grown since.
            guard bytes.count <= maximumSize else { throw tooLarge(path) }
        }
    }

    private static func tooLarge(_ path: String) -> CertsError {
        CertsError(
            .fileTooLarge, "\(path) is larger than 1 MiB, which no configuration file is", subject: path,
            hint: "check that the path names the configuration file")
    }

    private static func unreadable(_ path: String, _ code: Int32) -> CertsError {
        if code == ENOENT || code == ENOTDIR {
            return CertsError(
                .fileMissing, "there is no configuration file at \(path)", subject: path,
                hint: "write one with 'certs init', or name yours with --config FILE")
        }
        return CertsError(
            .fileUnreadable, "cannot read \(path): \(String(cString: strerror(code)))", subject: path,
            hint: "make it readable for the user that runs certs (uid \(geteuid()))")
    }
}
