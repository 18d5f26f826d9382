package import CertsCore
import CertsHTTP
import Foundation

extension DockerEngine {
    /// What a program in a container printed, on both streams, and its exit code.
    package struct Executed: Sendable {
        package let exitCode: Int
        package let output: String
    }

    /// Runs `arguments` in the container, as its user, without a shell, a terminal or an input, and waits for the end.
    ///
    /// At the deadline it is given up, not ended: the API has no request for that.
    package func execute(
        _ arguments: [String], in container: String, deadline: Duration
    ) async throws(CertsError) -> Executed {
        let body = try Self.encoded(ExecRequest(arguments: arguments))
        let created: Created = try await fetch(.post, ["containers", container, "exec"], body: body)
        let begin = ContinuousClock.now
        let output = try await send(
            .post, ["exec", created.id, "start"], body: try Self.encoded(ExecStart()), deadline: deadline)
        // The end of the output comes a moment before the exit code.
        while true {
            let state: ExecState = try await fetch(.get, ["exec", created.id, "json"])
            if !state.running, let code = state.exitCode {
                return Executed(exitCode: code, output: DockerStream.text(output))
            }
            guard ContinuousClock.now - begin < deadline else { break }
            do {
                try await Task.sleep(for: .milliseconds(20))
            } catch {
                throw CertsError.wrapping(error)
            }
        }
        throw CertsError(
            .targetTimeout, "'\(arguments.first ?? "")' in the container did not end within \(deadline)",
            hint: "look why it waits", retry: .later)
    }

    private static func encoded(_ body: some Encodable) throws(CertsError) -> Data {
        do {
            return try JSONEncoder().encode(body)
        } catch {
            throw CertsError.wrapping(error)
        }
    }
}

private struct ExecRequest: Encodable {
    let arguments: [String]
    let attachesOutput = true
    let attachesErrors = true

    private enum CodingKeys: String, CodingKey {
        case arguments = "Cmd"
        case attachesOutput = "AttachStdout"
        case attachesErrors = "AttachStderr"
    }
}

private struct ExecStart: Encodable {
    let isDetached = false
    let hasTerminal = false

    private enum CodingKeys: String, CodingKey {
        case isDetached = "Detach"
        case hasTerminal = "Tty"
    }
}
