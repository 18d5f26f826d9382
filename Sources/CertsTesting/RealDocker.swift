import CertsCore
package import CertsDocker
import CertsHTTP
import Foundation

/// The Docker Engine of this test run, which `scripts/docker-engine` started.
package enum RealDocker {
    package struct Failed: Error, CustomStringConvertible {
        package let description: String

        package init(description: String) { self.description = description }
    }

    package static var socket: String {
        get throws {
            guard let path = ProcessInfo.processInfo.environment["CERTS_TEST_DOCKER"], !path.isEmpty else {
                throw Failed(
                    description: "no Docker Engine: as root, eval \"$(scripts/docker-engine start /tmp/certs-docker)\"")
            }
            return path
        }
    }

    package static func engine() async throws -> DockerEngine {
        try await DockerEngine.connect(to: try socket, reply: .seconds(20))
    }

    /// How a container is made; on the host's network, as root, so that it can read the files of a test.
    package struct Recipe {
        package init() {}

        /// Begins with `haproxy` for a master, as with the official image.
        package var command = ["haproxy", "-f", "/conf/haproxy.cfg"]
        /// `nil`: that of the image.
        package var entryPoint: [String]?
        package var labels: [String: String] = [:]
        /// `HOST:CONTAINER[:ro]`
        package var binds: [String] = []
        package var hasTerminal = false
        package var hasInit = false
        package var restartPolicy = "no"

        fileprivate var request: [String: Any] {
            var body: [String: Any] = [
                "Image": "certs-test/haproxy", "User": "0", "Cmd": command, "Labels": labels, "Tty": hasTerminal,
                // That of the official image: as process 1 without a master HAProxy does not hear SIGTERM.
                "StopSignal": "SIGUSR1",
                "HostConfig": [
                    "NetworkMode": "host", "Binds": binds, "Init": hasInit, "RestartPolicy": ["Name": restartPolicy],
                ] as [String: Any],
            ]
            if let entryPoint { body["Entrypoint"] = entryPoint }
            return body
        }
    }

    /// Makes a container, gives its name to `body`, and removes it.
    package static func withContainer<Value>(
        _ recipe: Recipe, started: Bool = true, _ body: (_ name: String, _ engine: DockerEngine) async throws -> Value
    ) async throws -> Value {
        let engine = try await engine()
        let name = "certs-test-\(UUID().uuidString.prefix(13).lowercased())"
        _ =
            try await engine.send(
                .post, ["containers", "create"], query: [("name", name)],
                body: try JSONSerialization.data(withJSONObject: recipe.request)) as Data
        let result: Result<Value, any Error>
        do {
            if started { _ = try await engine.send(.post, ["containers", name, "start"]) }
            result = .success(try await body(name, engine))
        } catch {
            result = .failure(error)
        }
        // A new task: a test that was cancelled at its time limit leaves nothing behind either.
        _ = try await Task {
            try await engine.send(.delete, ["containers", name], query: [("force", "1"), ("v", "1")])
        }.value
        return try result.get()
    }
}
