package import Foundation

/// A directory of mode 0700 under the system's temporary directory, removed with its last reference.
package final class TemporaryDirectory: Sendable {
    package let path: String

    /// - Parameter prefix: the first part of its name.
    package init(prefix: String = "certs-test") throws {
        // Short, because the path of a Unix socket in it has at most 107 bytes.
        var template = Array("/tmp/\(prefix)-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        path = String(decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    package var url: URL { URL(filePath: path, directoryHint: .isDirectory) }

    /// The absolute path of `name` in the directory.
    package func path(_ name: String) -> String { "\(path)/\(name)" }

    /// Writes `bytes` to `name` and returns its absolute path.
    @discardableResult
    package func write(_ bytes: Data, to name: String) throws -> String {
        try bytes.write(to: url.appending(path: name))
        return path(name)
    }

    /// As above, from text.
    @discardableResult
    package func write(_ text: String, to name: String) throws -> String { try write(Data(text.utf8), to: name) }

    /// As above, for the owner alone (0600).
    @discardableResult
    package func writeSecret(_ text: String, to name: String) throws -> String {
        let path = try write(text, to: name)
        guard chmod(path, 0o600) == 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        return path
    }
}
