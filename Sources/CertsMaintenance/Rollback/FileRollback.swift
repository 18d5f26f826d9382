package import CertsCore
import CertsPrograms
package import Foundation

/// Puts an earlier version of a configuration file in its place, has it checked and read; what does not pass is taken back.
package struct FileRollback: Sendable {
    private let work: FileVersioning
    private let versions: FileVersions
    private let live: any LiveFiles
    private let now: @Sendable () -> Date

    /// Of one command.
    private static let outputLimit = 1 << 20

    package init(
        _ work: FileVersioning, files: any MaintenanceFiles, live: any LiveFiles, now: @escaping @Sendable () -> Date
    ) {
        self.work = work
        self.live = live
        self.now = now
        versions = FileVersions(files: files)
    }

    package struct Plan: Sendable {
        package let file: FileVersioning.File
        package let target: FileVersion
        /// The version that lies there now, as far as it is kept; `nil`: another one, or none.
        package let current: Int?
        package let versions: [FileVersion]
    }

    /// What a rollback would do; changes nothing.
    ///
    /// - Parameter number: of the version; `nil`: the last that is not what lies there now.
    /// - Throws: `name.unknown`, `job.refused`.
    package func plan(_ path: String, to number: Int?) async throws -> Plan {
        guard let file = work.files.first(where: { $0.path == path }) else {
            throw CertsError(
                .nameUnknown, "no versions of \(TerminalText.sanitized(path, limit: 200)) are kept",
                hint: "declared: \(work.files.map(\.path).joined(separator: ", "))")
        }
        let known = try await versions.index()[path] ?? []
        let found = try await live.read(path, limit: FileVersions.fileLimit)
        func isCurrent(_ version: FileVersion) -> Bool { found.map { !FileVersions.isNew($0, [version]) } ?? false }
        let current = known.last(where: isCurrent)?.number
        let target = number.map { number in known.first { $0.number == number } } ?? known.last { !isCurrent($0) }
        guard let target else {
            let numbers = known.map { String($0.number) }.joined(separator: ", ")
            throw CertsError(
                .jobRefused,
                number.map { "version \($0) of \(path) is not kept" }
                    ?? "no version of \(path) but the one that lies there is kept", subject: path,
                hint: "kept: \(numbers.isEmpty ? "none" : numbers)")
        }
        guard !isCurrent(target) else {
            throw CertsError(
                .jobRefused, "version \(target.number) of \(path) is what lies there now", subject: path,
                hint: "name another one with --to")
        }
        return Plan(file: file, target: target, current: current, versions: known)
    }

    /// Does it; what lies there now is kept as a version first.
    ///
    /// - Returns: what was done, for the ledger.
    /// - Throws: `job.failed` where the file is what it was before, or could not be put back.
    package func run(_ plan: Plan, control: JobControl) async throws -> String {
        let path = plan.file.path
        let contents = try await versions.contents(of: plan.target)
        let before = try await live.read(path, limit: FileVersions.fileLimit)
        if let before { try await versions.add(before, at: path, keep: max(work.kept, 2), now: now()) }
        let attributes = FileAttributes(
            mode: plan.target.mode, owner: plan.target.owner, group: plan.target.group)
        try await live.install(contents, at: path, attributes: attributes)
        var isReloaded = false
        do {
            try await runProgram(plan.file.validate, "the check", control)
            isReloaded = plan.file.reload != nil
            try await runProgram(plan.file.reload, "the reload", control)
        } catch {
            let failure = CertsError.wrapping(error, subject: path)
            throw try await withUncancelledTask { [isReloaded] in
                await putBack(before, plan.file, isReloaded: isReloaded, failure)
            }
        }
        if let after = try await live.read(path, limit: FileVersions.fileLimit) {
            try await versions.add(after, at: path, keep: max(work.kept, 2), now: now())
        }
        return "\(path) is version \(plan.target.number) again (SHA-256 \(plan.target.digest.prefix(12)))"
    }

    /// Has the version checked by the `validate` command, in a copy whose path takes the place of the file's in its
    /// arguments. The file itself is not touched.
    ///
    /// - Returns: what was found, for people.
    /// - Throws: why the version would not do.
    package func rehearse(_ plan: Plan, control: JobControl) async throws -> String {
        let path = plan.file.path
        let contents = try await versions.contents(of: plan.target)
        guard let validate = plan.file.validate else {
            return "version \(plan.target.number) is whole; no `validate` is declared"
        }
        guard validate.contains(path) else {
            return
                "version \(plan.target.number) is whole; `validate` does not name the file, and was not run on a copy"
        }
        let folder = FileManager.default.temporaryDirectory.appending(path: "certs-rehearsal-\(UUID().uuidString)")
        try FileManager.default.createDirectory(
            at: folder, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        defer { try? FileManager.default.removeItem(at: folder) }
        let copy = folder.appending(path: (path as NSString).lastPathComponent).path
        try await live.install(
            contents, at: copy, attributes: FileAttributes(mode: 0o600, owner: geteuid(), group: getegid()))
        try await runProgram(validate.map { $0 == path ? copy : $0 }, "the check of a copy", control)
        return "version \(plan.target.number) is whole and passes `validate`"
    }

    private func runProgram(_ arguments: [String]?, _ what: String, _ control: JobControl) async throws {
        guard let arguments else { return }
        do {
            try await Program(
                arguments, deadline: min(.seconds(120), max(.seconds(1), control.left)), outputLimit: Self.outputLimit
            ).run()
        } catch let failure as ProgramFailure {
            throw failure.certsError(.jobFailed, "\(what) '\(Program.shown(arguments))'")
        }
    }

    private func putBack(
        _ before: LiveFile?, _ file: FileVersioning.File, isReloaded: Bool, _ failure: CertsError
    ) async -> CertsError {
        do {
            if let before {
                try await live.install(before.contents, at: file.path, attributes: before.attributes)
            } else {
                try await live.remove(file.path)
            }
            // The service may have read a part of what failed.
            if isReloaded, let reload = file.reload {
                try await Program(reload, deadline: .seconds(120), outputLimit: Self.outputLimit).run()
            }
            return CertsError(
                .jobFailed, "\(failure.message); \(file.path) is what it was before", subject: file.path,
                hint: "look why the earlier version is not accepted, or name another with --to")
        } catch {
            let problem = (error as? ProgramFailure)?.certsError(.jobFailed, "the reload") ?? CertsError.wrapping(error)
            return CertsError(
                .jobFailed, "\(failure.message); and what was before could not be put back: \(problem.message)",
                subject: file.path, hint: "the versions are in maintenance/versions of the state directory")
        }
    }
}
