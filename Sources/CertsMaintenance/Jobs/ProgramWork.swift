import CertsCore
import CertsPrograms

/// Runs the program that a job declares.
struct ProgramWork: HostWork {
    let work: CommandWork

    /// Of each stream, in bytes.
    private static let outputLimit = 1 << 20

    func preview(_ job: Name, sample: Int, control: JobControl) async throws -> [WorkPreview] {
        [
            WorkPreview(
                subject: "program", count: 1, keys: [Program.shown(work.arguments)],
                warnings: ["what the program would do is not known here"])
        ]
    }

    func run(_ job: Name, control: JobControl) async throws -> JobExecutor.Done {
        let begin = ContinuousClock.now
        let program = Program(work.arguments, deadline: control.left, outputLimit: Self.outputLimit)
        do {
            try await program.run()
        } catch let failure as ProgramFailure {
            throw failure.certsError(
                .jobFailed, "the program '\(Program.shown(work.arguments))'", subject: job.rawValue)
        }
        let seconds = Double((ContinuousClock.now - begin) / .milliseconds(1)) / 1000
        return JobExecutor.Done(rows: 1, measures: [JobMeasure(.commandSeconds, [:], seconds)])
    }
}
