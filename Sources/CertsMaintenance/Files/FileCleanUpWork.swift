import CertsCore
import Foundation

/// Deletes old files: rotated logs, temporary data.
struct FileCleanUpWork: HostWork {
    let work: FileCleanUp
    var proc = "/proc"

    private struct Plan: Sendable {
        var files: [OldFiles.Found]
        /// Old enough, and open.
        var open: [OldFiles.Found]
        var problems: [String]
    }

    func preview(_ job: Name, sample: Int, control: JobControl) async throws -> [WorkPreview] {
        let now = control.now()
        return try await JobExecutor.pool.run {
            let plan = try plan(job, now, control)
            var warnings = plan.problems
            if !plan.open.isEmpty { warnings.append(Self.words(open: plan.open)) }
            return [
                WorkPreview(
                    subject: work.root, count: plan.files.count, bytes: plan.files.reduce(0) { $0 + $1.size },
                    held: plan.open.count,
                    keys: plan.files.prefix(sample).map { TerminalText.sanitized($0.path, limit: 300) },
                    warnings: warnings)
            ]
        }
    }

    func run(_ job: Name, control: JobControl) async throws -> JobExecutor.Done {
        let now = control.now()
        return try await JobExecutor.pool.run {
            let plan = try plan(job, now, control)
            let root = try OldFiles.open(work.root)
            defer { close(root) }
            var (deleted, bytes, left): (Int, Int, [String]) = (0, 0, plan.problems)
            for (index, file) in plan.files.enumerated() {
                if control.isOver {
                    left.append("\(plan.files.count - index) more: \(control.ending)")
                    break
                }
                switch OldFiles.remove(file, below: root) {
                case .removed:
                    deleted += 1
                    bytes += file.size
                case .gone: break
                case .kept(let why): left.append("\(file.path): \(why)")
                }
            }
            if !plan.open.isEmpty { left.append(Self.words(open: plan.open)) }
            return JobExecutor.Done(
                rows: deleted, backlog: plan.files.count - deleted + plan.open.count,
                counts: [JobCounter(job: job, kind: .bytesFreed, value: bytes)],
                reason: left.isEmpty ? nil : TerminalText.sanitized(left.joined(separator: "; "), limit: 1000))
        }
    }

    private func plan(_ job: Name, _ now: Date, _ control: JobControl) throws -> Plan {
        var old = OldFiles(work, now: now) { control.isOver }
        let found = try old.find()
        var plan = Plan(files: found, open: [], problems: old.problems)
        guard !found.isEmpty else { return plan }
        let open = OpenFiles.look(proc, below: work.root)
        guard open.hidden == 0 || work.allowsUnknownOpenFiles else {
            throw CertsError(
                .jobRefused, "it cannot be known which files are open: the processes of others cannot be looked at",
                subject: work.root,
                hint:
                    "run certs as root (or with CAP_SYS_PTRACE); or write `openFilesUnknown: allow`, if nothing keeps "
                    + "rotated files open")
        }
        plan.open = found.filter { open.identities.contains($0.identity) }
        plan.files = found.filter { !open.identities.contains($0.identity) }
        let hint = "look at `certs maintenance plan \(job)`; if they may go, raise it"
        guard plan.files.count <= work.limit else {
            throw CertsError(
                .jobRefused, "\(plan.files.count) files would go, more than `maximumFiles` \(work.limit)",
                subject: work.root, hint: hint)
        }
        if let share = work.share, Double(plan.files.count) > share * Double(old.total) {
            throw CertsError(
                .jobRefused,
                "\(plan.files.count) of \(old.total) files would go, more than `maximumShare` \(Int(share * 100))",
                subject: work.root, hint: hint)
        }
        return plan
    }

    private static func words(open files: [OldFiles.Found]) -> String {
        let names = files.prefix(3).map(\.path).joined(separator: ", ")
        return "\(files.count) old files are open and stay: \(TerminalText.sanitized(names, limit: 300))"
    }
}
