import ArgumentParser
import CertsCore
import CertsEngine
import CertsMaintenance
import CertsStore
import Foundation

struct RollbackTestCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback-test", abstract: "Rehearse every rollback; what is live is not touched.",
        discussion: """
            certificates: the earlier revision is whole, valid and not revoked, and every node would take it. files: the \
            earlier version passes `validate` in a copy. services: the engine makes the container of the earlier deployment \
            under another name, never started, and removes it. databases: the newest backup is restored beside the live \
            database and compared. Exit codes: 0 each would do, or there is nothing to go back to; 1 one would not.
            """)

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: OutputOptions
    @Option(help: "Only these: certificates, files, services or databases.")
    var only: [Kind] = []

    enum Kind: String, CaseIterable, ExpressibleByArgument, Encodable {
        case certificates, files, services, databases
    }

    enum Outcome: String, Encodable {
        case ready
        /// There is nothing to go back to.
        case nothing
        case failed
    }

    struct Item: Encodable {
        let kind: Kind
        let subject: String
        let outcome: Outcome
        let detail: String
        let seconds: Double
    }

    struct Document: Encodable {
        let schema = 1
        let rehearsals: [Item]
    }

    func run() async throws {
        let assembly = try await Assembly.forMaintenance(global)
        var items: [Item] = []
        for kind in Kind.allCases where only.isEmpty || only.contains(kind) {
            for (subject, rehearsal) in try await assembly.rehearsals(of: kind) {
                items.append(await Self.carryOut(kind, subject, rehearsal))
            }
        }
        try Listing(
            document: Document(rehearsals: items), items: items,
            columns: [
                Column("kind") { $0.kind.rawValue }, Column("subject") { $0.subject },
                Column("outcome") { $0.outcome.rawValue },
                Column("seconds", isNumber: true) { String(format: "%.1f", $0.seconds) },
                Column("detail") { TerminalText.sanitized($0.detail) },
            ]
        ).print(output.output)
        if items.isEmpty { Terminal.note("nothing is declared that could be rolled back") }
        if items.contains(where: { $0.outcome == .failed }) { throw ExitStatus.failed }
    }

    private static func carryOut(_ kind: Kind, _ subject: String, _ rehearsal: Rehearsal) async -> Item {
        let begin = ContinuousClock.now
        var (outcome, detail) = (Outcome.ready, "")
        do {
            detail = try await rehearsal()
        } catch let nothing as NothingEarlier {
            (outcome, detail) = (.nothing, nothing.reason)
        } catch {
            (outcome, detail) = (.failed, CertsError.wrapping(error, subject: subject).message)
        }
        let seconds = (ContinuousClock.now - begin) / .milliseconds(1) / 1000
        return Item(kind: kind, subject: subject, outcome: outcome, detail: detail, seconds: seconds)
    }
}

/// What was found, for people.
private typealias Rehearsal = () async throws -> String

/// Whose rollback cannot be rehearsed, because there is nothing yet that it could go back to.
private struct NothingEarlier: Error {
    let reason: String

    /// Runs `body`, whose error of this code says that.
    static func unless<Value>(_ code: CertsError.Code, _ body: () async throws -> Value) async throws -> Value {
        do {
            return try await body()
        } catch let error as CertsError where error.code == code {
            throw NothingEarlier(reason: error.message)
        }
    }
}

extension Assembly {
    fileprivate func rehearsals(of kind: RollbackTestCommand.Kind) async throws -> [(String, Rehearsal)] {
        switch kind {
        case .certificates:
            declarations.certificates.map { declared in (declared.name.rawValue, certificate(declared.name)) }
        case .files: hostWork { if case .keepVersions(let work) = $0 { work } else { nil } }.flatMap(files)
        case .services:
            try await DeploymentJournal(files: state).services().flatMap { service in
                hostWork { if case .recordDeployments(let work) = $0 { work } else { nil } }.prefix(1).map {
                    (service.service, self.service(service.service, $0))
                }
            }
        case .databases:
            declarations.maintenance.jobs.compactMap { job in
                guard case .backUp = job.work else { return nil }
                return (job.name.rawValue, database(job.name))
            }
        }
    }

    private func hostWork<Work>(_ pick: (HostJob) -> Work?) -> [Work] {
        declarations.maintenance.jobs.compactMap { if case .host(let work) = $0.work { pick(work) } else { nil } }
    }

    private func certificate(_ name: Name) -> Rehearsal {
        {
            let found = try await NothingEarlier.unless(.certificateMissing) {
                try await engine.rehearseRollback(of: name)
            }
            guard found.blocking.isEmpty else {
                throw CertsError(.certificateRejected, found.blocking.joined(separator: "; "), subject: name.rawValue)
            }
            return "revision \(found.revision) is whole, and every node would take it"
        }
    }

    private func files(_ work: FileVersioning) -> [(String, Rehearsal)] {
        let rollback = FileRollback(work, files: state, live: state.liveFiles, now: { Date() })
        return work.files.map { file in
            (
                file.path,
                {
                    let plan = try await NothingEarlier.unless(.jobRefused) {
                        try await rollback.plan(file.path, to: nil)
                    }
                    let control = JobControl(deadline: .now + .seconds(120), now: { Date() })
                    return try await rollback.rehearse(plan, control: control)
                }
            )
        }
    }

    private func service(_ name: String, _ work: DeploymentRecording) -> Rehearsal {
        let rollback = ServiceRollback(work, files: state, now: { Date() })
        return {
            let plan = try await NothingEarlier.unless(.jobRefused) { try await rollback.plan(name, to: nil) }
            return try await rollback.rehearse(plan)
        }
    }

    private func database(_ job: Name) -> Rehearsal {
        {
            let catalogue = try BackupChoice.catalogue(declarations.maintenance, job.rawValue)
            guard try await !BlockingPool.shared.run({ try catalogue.entries() }).isEmpty else {
                throw NothingEarlier(reason: "there is no backup yet")
            }
            let name = try await BlockingPool.shared.run { try catalogue.entry(nil).name }
            let run = try await testRestore(of: name, job: job)
            guard run.result == .succeeded else {
                throw CertsError(.jobFailed, run.reason ?? "it did not end", subject: job.rawValue)
            }
            return try await BackupChoice.proof(of: name, in: catalogue)
        }
    }
}
