import CertsCore
import CertsTesting
import Foundation
import Testing

@testable import CertsNotify

/// Messages on the standard input of a program.
@Suite(.timeLimit(.minutes(5))) struct CommandChannelTests {
    init() {
        // As the program does: one that does not read its input must not end us.
        signal(SIGPIPE, SIG_IGN)
    }

    private func channel(_ arguments: [String], timeout: TimeInterval = 30) throws -> CommandChannel {
        CommandChannel(name: try Name("ops"), arguments: arguments, timeout: timeout)
    }

    @Test func `the program gets the JSON and its arguments as they are`() async throws {
        let directory = try TemporaryDirectory()
        let script = try directory.write(
            "#!/bin/sh\necho \"$1\" > \(directory.path("argument"))\ncat > \(directory.path("input"))\n", to: "tell")
        chmod(script, 0o700)
        let message = try sampleMessage()
        try await channel([script, "$(id); 'a b'"]).send(message)
        #expect(try String(contentsOfFile: directory.path("argument"), encoding: .utf8) == "$(id); 'a b'\n")
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .iso8601
        let input = try Data(contentsOf: URL(filePath: directory.path("input")))
        #expect(try decoder.decode(NotificationMessage.self, from: input) == message)
    }

    @Test func `one that does not read its input may do so`() async throws {
        try await channel(["true"]).send(try sampleMessage())
    }

    @Test func `one that fails, is not there or prints without end is a failure`() async throws {
        for (arguments, word) in [
            (["sh", "-c", "echo 'no\u{1b}[31m way' >&2; exit 3"], "exit code 3): no\\u{1b}[31m way"),
            (["/nonexistent/program"], "could not be run"), (["sh", "-c", "yes"], "could not be run"),
        ] {
            let error = await #expect(throws: CertsError.self) { try await channel(arguments).send(sampleMessage()) }
            #expect(error?.code == .notificationFailed)
            #expect(error?.message.contains(word) == true, "\(String(describing: error))")
        }
    }

    @Test func `one that hangs is left at its deadline, with its children`() async throws {
        let directory = try TemporaryDirectory()
        let script = "cat >/dev/null; sleep 300 & echo $! > \(directory.path("child")); wait"
        let error = await #expect(throws: CertsError.self) {
            try await channel(["sh", "-c", script], timeout: 1).send(sampleMessage())
        }
        #expect(error?.message.contains("did not end within") == true)
        var isAlive = true
        for _ in 0..<1000 where isAlive {
            let text = (try? String(contentsOfFile: directory.path("child"), encoding: .utf8)) ?? ""
            if let child = pid_t(text.trimmingCharacters(in: .whitespacesAndNewlines)) {
                isAlive =
                    FileManager.default.fileExists(atPath: "/proc/\(child)/cmdline")
                    && (FileManager.default.contents(atPath: "/proc/\(child)/cmdline")?.isEmpty == false)
            }
            if isAlive { try await Task.sleep(for: .milliseconds(20)) }
        }
        #expect(!isAlive, "its child lives on")
    }
}
