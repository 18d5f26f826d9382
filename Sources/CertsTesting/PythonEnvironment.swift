import Foundation

/// Python packages that Debian does not have, as `scripts/python-environment` installs them.
package enum PythonEnvironment {
    /// The directory of the virtual environment of `scripts/NAME.txt`; made now where it is missing.
    package static func directory(_ name: String) throws -> String {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let outcome = try Tool.run(root.appending(path: "scripts/python-environment").path, name)
        guard outcome.status == 0, let directory = outcome.output.split(separator: "\n").last else {
            throw Tool.Failure(description: "scripts/python-environment \(name) failed: \(outcome.output)")
        }
        return String(directory)
    }
}
