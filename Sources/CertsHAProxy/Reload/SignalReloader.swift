import CertsCore
import Foundation

/// A signal to the master process whose pid is in a file (management manual §4), with its workers as the witness.
struct SignalReloader: Reloader {
    let pidFile: String
    let signal: ReloadSignal
    let files: any LiveFiles

    func check(bundlePaths: [String]) async -> [Finding] {
        do {
            let pid = try await process()
            if kill(pid, 0) != 0 { throw cannotSend(pid, errno) }
            return [await WorkerWatch(master: Int(pid), subject: pidFile).check()].compactMap(\.self)
        } catch {
            return [Finding(error: CertsError.wrapping(error), id: "reload-unavailable")]
        }
    }

    func reload(within limit: Duration) async throws -> ReloadOutcome {
        let pid = try await process()
        let number =
            switch signal {
            case .usr2: SIGUSR2
            case .hup: SIGHUP
            }
        return try await WorkerWatch(master: Int(pid), subject: pidFile).reload(within: limit) {
            if kill(pid, number) != 0 { throw cannotSend(pid, errno) }
        }
    }

    private func cannotSend(_ pid: pid_t, _ code: CInt) -> CertsError {
        failure(
            "cannot send SIG\(signal.rawValue) to the process \(pid): \(String(cString: strerror(code)))",
            hint: code == EPERM
                ? "run certs as the user of HAProxy's master process, or as root" : "start HAProxy, then run again")
    }

    /// The pid in the file, if such a process runs and is HAProxy: pids are used again, and SIGHUP ends other programs.
    private func process() async throws -> pid_t {
        guard let file = try await files.read(pidFile, limit: 4096) else {
            throw failure(
                "there is no file \(pidFile)", hint: "start HAProxy with `-p \(pidFile)` or `pidfile \(pidFile)`")
        }
        let text = file.contents.withBytes { String(decoding: $0, as: UTF8.self) }
        let words = text.split(whereSeparator: \.isWhitespace)
        guard words.count == 1, let pid = words.first.flatMap({ pid_t($0) }), pid > 1 else {
            throw failure(
                "\(pidFile) does not hold one process id",
                hint: "it must be written by HAProxy in master-worker mode (`-W`)")
        }
        let isGone = kill(pid, 0) != 0 && errno != EPERM
        guard !isGone, ProcessStatus.read(Int(pid))?.hasEnded != true else {
            throw failure("the process \(pid) in \(pidFile) is not running", hint: "start HAProxy, then run again")
        }
        let name = (try? String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8))?.trimmingCharacters(
            in: .newlines)
        let program = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/exe")
        let isHAProxy = [name, program?.split(separator: "/").last.map(String.init)].contains {
            $0?.hasPrefix("haproxy") == true
        }
        guard isHAProxy else {
            throw failure(
                "the process \(pid) in \(pidFile) is '\(TerminalText.sanitized(name ?? "unknown", limit: 64))', not HAProxy",
                hint: "the file is left over from a process that ended: start HAProxy with `-p \(pidFile)`")
        }
        return pid
    }

    private func failure(_ message: String, hint: String) -> CertsError {
        CertsError(.targetReloadFailed, message, subject: pidFile, hint: hint, retry: .later)
    }
}
