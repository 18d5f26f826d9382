import CertsCore
import CertsPrograms

extension CertsCore.CommandLine {
    private static let outputLimit = 1 << 20

    /// - Parameter purpose: begins the message of an error, e.g. `the reload command`.
    /// - Returns: what it printed to its standard output.
    /// - Throws: `target.reloadFailed` with the exit code and the last lines that the command printed.
    @discardableResult
    func run(purpose: String) async throws -> String {
        do {
            let output = try await Program(arguments, deadline: deadline, outputLimit: Self.outputLimit).run()
            return String(decoding: output, as: UTF8.self)
        } catch let failure as ProgramFailure {
            let shown = arguments.isEmpty ? purpose : "\(purpose) '\(Program.shown(arguments))'"
            throw failure.certsError(
                .targetReloadFailed, shown,
                hint: "run it by hand as the user of certs and mend what it says (`haproxy -c` says nothing with `-q`)")
        }
    }
}
