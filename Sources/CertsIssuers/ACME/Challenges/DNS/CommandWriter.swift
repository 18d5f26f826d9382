import CertsCore
import CertsPrograms
import Foundation

/// A program of the user: `RUN… present|remove NAME VALUE`.
struct CommandWriter: DNSRecordWriter {
    let arguments: [String]
    /// Seconds.
    let timeout: TimeInterval

    func add(_ value: String, at name: String) async throws { try await run("present", name, value) }
    func remove(_ value: String, at name: String) async throws { try await run("remove", name, value) }

    private func run(_ action: String, _ name: String, _ value: String) async throws {
        // The name alone of an empty vector would be run otherwise.
        let vector = arguments.isEmpty ? [] : arguments + [action, name, value]
        let program = Program(
            vector, deadline: .milliseconds(Int(max(1, timeout * 1000))), outputLimit: 256 << 10, keepsHome: true)
        do {
            try await program.run()
        } catch let failure as ProgramFailure {
            let words = arguments.prefix(1).map { URL(filePath: $0).lastPathComponent } + [action, name]
            throw failure.certsError(.challengeFailed, "the DNS command '\(Program.shown(words))'", subject: name)
        }
    }
}
