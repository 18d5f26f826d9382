import Foundation

/// A real program, run to its end by a test: its absence is an error, never a skip.
package enum Tool {
    package struct Outcome: Sendable {
        package let status: Int32
        /// Standard output and standard error together.
        package let output: String
    }

    package struct Missing: Error, CustomStringConvertible {
        package let description: String
    }

    /// Runs `arguments` (found through `PATH`), at most a minute. Blocking.
    @discardableResult
    package static func run(_ arguments: String..., directory: String? = nil) throws -> Outcome {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = ["timeout", "60"] + arguments
        if let directory { process.currentDirectoryURL = URL(filePath: directory) }
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        if process.terminationStatus == 127 { throw Missing(description: "\(arguments.first ?? "") is not installed") }
        return Outcome(status: process.terminationStatus, output: String(decoding: output, as: UTF8.self))
    }
}
