import CertsCore
import CertsPrograms
import Foundation

/// Runs logrotate(8) as it is meant to be run: not forced, so that what is not due keeps its place in the history, and
/// with a state file of our own, so that the rotation of the system does not take it for its own.
struct LogRotationWork: HostWork {
    let work: LogRotation
    let files: any MaintenanceFiles

    private static let outputLimit = 4 << 20

    func preview(_ job: Name, sample: Int, control: JobControl) async throws -> [WorkPreview] {
        let due = Self.rotated(try await run(job, ["--debug"], control))
        return [WorkPreview(subject: work.configuration, count: due.count, keys: Array(due.prefix(sample)))]
    }

    func run(_ job: Name, control: JobControl) async throws -> JobExecutor.Done {
        let rotated = Self.rotated(try await run(job, [], control))
        return JobExecutor.Done(rows: rotated.count)
    }

    /// - Returns: what logrotate said, as with `--verbose`; it stays beside the state file until the next run.
    private func run(_ job: Name, _ options: [String], _ control: JobControl) async throws -> String {
        guard FileManager.default.fileExists(atPath: work.configuration) else {
            throw CertsError(
                .jobRefused, "there is no configuration \(work.configuration)", subject: job.rawValue,
                hint: "correct `configuration` of the job")
        }
        let directory = try await files.directory(of: job)
        let log = "\(directory)/logrotate.log"
        let arguments = ["logrotate", "--state", "\(directory)/logrotate.state", "--log", log] + options
        let hint =
            "run `logrotate --debug \(work.configuration)`; the configuration must belong to the user that runs certs, and "
            + "be writable for nobody else"
        do {
            try await Program(
                arguments + [work.configuration], deadline: max(.seconds(1), control.left),
                outputLimit: Self.outputLimit
            ).run()
        } catch let failure as ProgramFailure {
            let what = "logrotate on \(work.configuration)\(Self.errors(Self.said(log)).map { " (\($0))" } ?? "")"
            throw failure.certsError(.jobFailed, what, subject: job.rawValue, hint: hint)
        }
        let words = Self.said(log)
        // A configuration that others may write is passed over, with an error and exit code 0.
        if let errors = Self.errors(words) {
            throw CertsError(
                .jobFailed, "logrotate on \(work.configuration): \(errors)", subject: job.rawValue, hint: hint)
        }
        return words
    }

    private static func errors(_ words: String) -> String? {
        let lines = words.split(whereSeparator: \.isNewline).filter { $0.hasPrefix("error:") }.suffix(5)
        return lines.isEmpty ? nil : TerminalText.sanitized(lines.joined(separator: " | "), limit: 700)
    }

    private static func said(_ log: String) -> String {
        guard let handle = FileHandle(forReadingAtPath: log) else { return "" }
        defer { try? handle.close() }
        return String(decoding: (try? handle.read(upToCount: outputLimit)) ?? Data(), as: UTF8.self)
    }

    /// The logs that are due: `considering log FILE`, and below it `log needs rotating`.
    static func rotated(_ words: String) -> [String] {
        var (current, result): (String?, [String]) = (nil, [])
        for line in words.split(whereSeparator: \.isNewline) {
            if let range = line.range(of: "considering log ") {
                current = String(line[range.upperBound...])
            } else if line.contains("log needs rotating"), let log = current {
                result.append(TerminalText.sanitized(log, limit: 300))
                current = nil
            }
        }
        return result
    }
}
