import CertsCore
package import CertsDocker
import CertsHTTP
import Foundation

/// A Docker Engine for one test alone: what it removes is nobody else's. It has the image of `scripts/docker-engine`,
/// `certs-test/haproxy`, also called `haproxy:2.6`.
package final class PrivateDocker: Sendable {
    package let socket: String
    private let directory: TemporaryDirectory

    private static let script = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "scripts/docker-engine").path

    /// Starts one, as soon as fewer than two run: each is a daemon with a store of its own.
    package static func make() async throws -> PrivateDocker {
        await slots.take()
        do {
            return try await BlockingPool.network.run { try PrivateDocker() }
        } catch {
            await slots.give()
            throw error
        }
    }

    private static let slots = Slots(2)

    /// Blocking, for some seconds.
    private init() throws {
        directory = try TemporaryDirectory(prefix: "cdp")
        let outcome = try Tool.run(Self.script, "start", directory.path("e"))
        guard outcome.status == 0 else { throw RealDocker.Failed(description: outcome.output) }
        socket = directory.path("e/docker.sock")
    }

    deinit {
        _ = try? Tool.run(Self.script, "stop", directory.path("e"))
        Task { await Self.slots.give() }
    }

    package func engine() async throws -> DockerEngine {
        try await DockerEngine.connect(to: socket, reply: .seconds(60))
    }

    /// Builds an image with the engine's own builder from files and a Dockerfile.
    ///
    /// - Parameter buildKit: whether BuildKit does it, which keeps a cache of its own.
    package func build(_ name: String, _ files: [String: String], buildKit: Bool = false) async throws {
        let folder = try TemporaryDirectory(prefix: "cdb")
        for (file, text) in files { try folder.write(text, to: file) }
        let archive = directory.path("context-\(UUID().uuidString).tar")
        _ = try Tool.run("tar", "-cf", archive, "-C", folder.path, ".")
        let body = FileManager.default.contents(atPath: archive) ?? Data()
        let response = try await HTTPClient().send(
            HTTPRequest(
                .post, "http://docker/v1.41/build?t=\(name)&version=\(buildKit ? 2 : 1)",
                headers: [("Content-Type", "application/x-tar")], body: body, unixSocket: socket,
                limits: .init(deadline: .seconds(120), idle: .seconds(120), body: 16 << 20)))
        let words = String(decoding: response.body, as: UTF8.self)
        guard response.isSuccess, !words.contains(#""error""#) else { throw RealDocker.Failed(description: words) }
    }

    /// The `docker` program, spoken to this engine.
    package func docker(_ arguments: String...) throws -> Tool.Outcome {
        try Tool.run(["docker", "-H", "unix://\(socket)"] + arguments)
    }
}

/// Lets so many in at a time, without a thread for those that wait.
private actor Slots {
    private var free: Int
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(_ count: Int) { free = count }

    func take() async {
        if free > 0 { free -= 1 } else { await withCheckedContinuation { waiting.append($0) } }
    }

    func give() {
        if waiting.isEmpty { free += 1 } else { waiting.removeFirst().resume() }
    }
}
