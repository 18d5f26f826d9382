import CertsCore
import CertsDocker
import CertsHTTP
import CertsStore
import CertsTesting
import Foundation
import Testing

@testable import CertsMaintenance

@Suite(.timeLimit(.minutes(10))) struct UpdateReportTests {
    /// What apt-get of Debian 12 prints, with a new package and one that would be removed.
    @Test func packagesAreCountedByWhereTheyComeFrom() {
        let found = PendingPackage.parse(
            """
            Reading package lists...
            Inst base-files [12.4+deb12u11] (12.4+deb12u15 Debian:12.15/oldstable [amd64])
            Inst libgcrypt20 [1.10.1-3] (1.10.1-3+deb12u1 Debian:12.15/oldstable, Debian-Security:12/oldstable-security [amd64]) []
            Inst liblzma5 [5.4.1-1] (5.4.1-1+deb12u2 Debian-Security:12/oldstable-security [amd64])
            Inst linux-image-6.1.0-99-amd64 (6.1.99-1 Debian:12.15/oldstable [amd64])
            Remv old-package [1.0]
            Conf base-files (12.4+deb12u15 Debian:12.15/oldstable [amd64])
            """)
        #expect(found.map(\.name) == ["base-files", "libgcrypt20", "liblzma5"])
        #expect(found.map(\.isSecurity) == [false, true, true])
        #expect(found[1].installed == "1.10.1-3" && found[1].candidate == "1.10.1-3+deb12u1")
        var pending = PendingUpdates()
        pending.packages = found
        #expect(
            pending.packagesByOrigin == ["Debian:12.15/oldstable": 1, "Debian-Security:12/oldstable-security": 2])
        #expect(pending.securityCount == 2)
    }

    /// What `go list -u -m -json all` of Go 1.19 prints.
    @Test func modulesWithANewerVersionAreFound() throws {
        let found = try ModuleUpdate.parse(
            """
            {
            \t"Path": "example.com/m",
            \t"Main": true,
            \t"Dir": "/srv/m",
            \t"GoMod": "/srv/m/go.mod",
            \t"GoVersion": "1.19"
            }
            {
            \t"Path": "example.com/dep",
            \t"Version": "v1.0.0",
            \t"Time": "2024-01-01T00:00:00Z",
            \t"Update": {
            \t\t"Path": "example.com/dep",
            \t\t"Version": "v1.1.0",
            \t\t"Time": "2024-01-01T00:00:00Z"
            \t},
            \t"GoMod": "/root/go/pkg/mod/cache/download/example.com/dep/@v/v1.0.0.mod"
            }
            {
            \t"Path": "example.com/new",
            \t"Version": "v1.2.3",
            \t"Indirect": true
            }
            """, directory: "/srv/m")
        #expect(
            found == [
                ModuleUpdate(
                    directory: "/srv/m", path: "example.com/dep", version: "v1.0.0", update: "v1.1.0", isIndirect: false
                )
            ])
    }

    @Test(arguments: [
        ("alpine", "registry-1.docker.io", "library/alpine", "latest" as String?, nil as String?, "alpine"),
        ("haproxy:2.6", "registry-1.docker.io", "library/haproxy", "2.6", nil, "haproxy"),
        ("docker.io/library/redis:7", "registry-1.docker.io", "library/redis", "7", nil, "redis"),
        ("user/app", "registry-1.docker.io", "user/app", "latest", nil, "user/app"),
        ("ghcr.io/o/app:v1", "ghcr.io", "o/app", "v1", nil, "ghcr.io/o/app"),
        ("127.0.0.1:5000/chat:1", "127.0.0.1:5000", "chat", "1", nil, "127.0.0.1:5000/chat"),
        ("localhost/chat", "localhost", "chat", "latest", nil, "localhost/chat"),
        ("a@sha256:00", "registry-1.docker.io", "library/a", nil, "sha256:00", "a"),
    ])
    func namesOfImagesAreReadAsDockerDoes(
        text: String, registry: String, repository: String, tag: String?, digest: String?, familiar: String
    ) throws {
        let reference = try #require(ImageReference(text))
        #expect(reference.registry == registry && reference.repository == repository)
        #expect(reference.tag == tag && reference.digest == digest && reference.familiarName == familiar)
    }

    @Test(arguments: ["sha256:00ff", "a b", "a/../b", "a:t/../../x", "é", ""]) func othersAreNone(text: String) {
        #expect(ImageReference(text) == nil)
    }

    @Test func aRunningImageIsComparedWithItsRegistryAndNothingIsPulled() async throws {
        let docker = try await PrivateDocker.make()
        let engine = try await docker.engine()
        let shop = try await HostShop.make()
        let registry = try RealRegistry(in: shop.directory)
        let name = "\(registry.address)/chat:1"
        try await docker.build(name, ["Dockerfile": "FROM certs-test/haproxy\nCOPY v /v\n", "v": "1"])
        #expect(try docker.docker("push", name).status == 0)
        try await engine.make("chat", image: name)
        try await engine.make("built-here")
        let work = UpdateCheck(packages: false, engineSocket: docker.socket)
        let first = try await UpdateLook(work).look(control: JobControl { Date() })
        #expect(first.problems == [])
        #expect(first.images.map(\.image) == [name, "certs-test/haproxy"])
        #expect(first.images.map(\.verdict) == [.current, .local], "\(first.images)")

        try await docker.build(name, ["Dockerfile": "FROM certs-test/haproxy\nCOPY v /v\n", "v": "2"])
        #expect(try docker.docker("push", name).status == 0)
        let images = try await engine.images().count
        let run = try await shop.run(.reportUpdates(work))
        #expect(run.result == .succeeded && run.rows == 1, "\(run.reason ?? "")")
        let metrics = try await shop.metrics(.reportUpdates(work))
        #expect(metrics.contains("certs_image_update_available{job=\"job\",image=\"\(name)\"} 1\n"), "\(metrics)")
        #expect(!metrics.contains("image=\"certs-test"))
        #expect(try await engine.images().count == images)
    }

    @Test func aTokenForEverybodyIsAskedForAndALoginIsNot() async throws {
        let directory = try TemporaryDirectory(prefix: "certs-reg")
        let port = try LoopbackPort.reserve()
        let digest = "sha256:" + String(repeating: "a", count: 64)
        // A registry that gives tokens, as the public ones do; in its second name, only to those who log in.
        try directory.write(
            """
            { 
              admin off
              auto_https off
            }
            http://127.0.0.1:\(port) {
              bind 127.0.0.1
              @token {
                path /token
                query scope=repository:open:pull service=reg
              }
              @open {
                path /v2/open/manifests/1
                header Authorization "Bearer t0ken"
                header Accept *application/vnd.oci.image.index.v1+json*
                method HEAD
              }
              @up path /up
              handle @up {
                respond "up" 200
              }
              handle @token {
                respond `{"token":"t0ken","expires_in":300}` 200
              }
              handle @open {
                header Docker-Content-Digest "\(digest)"
                respond 200
              }
              handle /v2/* {
                header Www-Authenticate `Bearer realm="http://127.0.0.1:\(port)/token",service="reg"`
                respond 401
              }
              handle {
                respond 403
              }
            }
            """, to: "Caddyfile")
        let server = ServerProcess(
            ["caddy", "run", "--config", directory.path("Caddyfile"), "--adapter", "caddyfile"],
            environment: ["HOME": directory.path, "XDG_DATA_HOME": directory.path, "XDG_CONFIG_HOME": directory.path],
            directory: directory.path, log: directory.path("log"))
        try server.start {
            (try? HTTPClient().sendBlocking(HTTPRequest(.get, "http://127.0.0.1:\(port)/up")))?.status == 200
        }
        let open = try #require(ImageReference("127.0.0.1:\(port)/open:1"))
        #expect(try await Registry().digest(of: open) == digest)
        let closed = try #require(ImageReference("127.0.0.1:\(port)/closed:1"))
        do {
            _ = try await Registry().digest(of: closed)
            Issue.record("it should be refused")
        } catch {
            #expect(error.message.contains("login") || error.message.contains("log in"), "\(error)")
        }
        server.stop()
    }

    @Test func whatCannotBeFoundOutMakesTheRunIncomplete() async throws {
        let shop = try await HostShop.make()
        let nowhere = shop.directory.path("none.sock")
        let run = try await shop.run(.reportUpdates(UpdateCheck(packages: false, engineSocket: nowhere)))
        #expect(run.result == .incomplete)
        #expect(run.reason?.contains("no socket") == true, "\(run.reason ?? "")")
    }
}

/// The registry of Debian (docker-registry), on a loopback port, with storage of its own.
final class RealRegistry: Sendable {
    let address: String
    private let server: ServerProcess

    init(in directory: TemporaryDirectory) throws {
        let port = try LoopbackPort.reserve()
        address = "127.0.0.1:\(port)"
        try directory.write(
            """
            version: 0.1
            storage: { filesystem: { rootdirectory: "\(directory.path("registry"))" } }
            http: { addr: "\(address)" }
            """, to: "registry.yml")
        server = ServerProcess(
            ["docker-registry", "serve", directory.path("registry.yml")], directory: directory.path,
            log: directory.path("registry.log"))
        let url = "http://\(address)/v2/"
        try server.start { (try? HTTPClient().sendBlocking(HTTPRequest(.get, url)))?.status == 200 }
    }

    deinit { server.stop() }
}
