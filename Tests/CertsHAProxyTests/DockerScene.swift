import CertsCore
import CertsDocker
import CertsTesting
import Foundation

@testable import CertsHAProxy

/// A site whose HAProxy runs in a container that has two directories of it: `certs` at /certs, `conf` at /conf.
struct DockerScene {
    let site: Site
    let port: Int

    init() throws {
        site = try Site()
        port = try LoopbackPort.reserve()
        try FileManager.default.createDirectory(atPath: site.directory.path("conf"), withIntermediateDirectories: true)
        try configure()
    }

    /// Writes HAProxy's configuration, with more lines at its end.
    func configure(_ more: String = "") throws {
        let text = """
            defaults
                mode http
                timeout connect 2s
                timeout client 30s
                timeout server 30s
            frontend https-in
                bind 127.0.0.1:\(port) ssl crt /certs/server.pem
                http-request return status 200 content-type text/plain string ok
                \(more)

            """
        try site.directory.write(text, to: "conf/haproxy.cfg")
    }

    var recipe: RealDocker.Recipe {
        var recipe = RealDocker.Recipe()
        recipe.binds = ["\(site.directory.path("certs")):/certs:ro", "\(site.directory.path("conf")):/conf:ro"]
        return recipe
    }

    func reloader(
        _ selector: DockerContainer.Selector, signal: ReloadSignal = .hup, configuration: String? = nil,
        restart: Bool = false
    ) throws -> DockerReloader {
        DockerReloader(
            container: DockerContainer(
                selector: selector, engineSocket: try RealDocker.socket, signal: signal, configuration: configuration,
                restart: restart),
            pause: .milliseconds(20), settling: .milliseconds(500))
    }

    /// Returns when the endpoint serves, at most half a minute later.
    @discardableResult
    func waitUntilServed() async throws -> Fingerprint {
        let end = ContinuousClock.now + .seconds(30)
        while true {
            do {
                return try await Site.served(port)
            } catch {
                guard ContinuousClock.now < end else { throw error }
                try await Task.sleep(for: .milliseconds(20))
            }
        }
    }

    /// Puts the bundle in place as a deployment does: by a rename.
    func install(_ bundle: StagedBundle) async throws {
        try await site.files.install(bundle.pem, at: site.path, attributes: nil)
    }

    /// Returns when `fingerprint` is served, at most ten seconds later; `false` if it is not.
    func serves(_ fingerprint: Fingerprint) async throws -> Bool {
        let end = ContinuousClock.now + .seconds(10)
        while ContinuousClock.now < end {
            if try await waitUntilServed() == fingerprint { return true }
            try await Task.sleep(for: .milliseconds(20))
        }
        return false
    }
}
