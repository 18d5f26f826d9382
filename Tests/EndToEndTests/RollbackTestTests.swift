import CertsCore
import CertsTesting
import Foundation
import Testing

/// `certs maintenance rollback-test`: each rollback up to the point where something live would be touched.
@Suite(.timeLimit(.minutes(10))) struct RollbackTestTests {
    private struct Document: Decodable {
        struct Item: Decodable {
            let kind: String
            let subject: String
            let outcome: String
            let detail: String
        }
        let rehearsals: [Item]
    }

    private func rehearse(_ scene: RotationScene, exits status: Int32) async throws -> [String: Document.Item] {
        let outcome = try await scene.certs("maintenance", "rollback-test", "-o", "json", exits: status)
        let items = try scene.decoded(Document.self, outcome).rehearsals
        return Dictionary(items.map { ($0.kind, $0) }, uniquingKeysWith: { first, _ in first })
    }

    @Test func eachRollbackIsRehearsedAndNothingLiveIsTouched() async throws {
        let server = try await RealPostgres.shared()
        let database = try await blocking.run {
            try server.makeDatabase("CREATE TABLE notes (id int PRIMARY KEY); INSERT INTO notes VALUES (1), (2);")
        }
        let scene = try await RotationScene.make(
            .init(
                more: """
                    maintenance:
                      database: { host: "\(server.host)", name: \(database), user: \(RealPostgres.user) }
                      jobs:
                        - { name: nightly, kind: backup, directory: DIR/backups }
                        - name: files
                          kind: file-versions
                          files: [ { path: DIR/service.cfg, validate: [/bin/grep, -q, good, DIR/service.cfg] } ]
                    """))
        try FileManager.default.createDirectory(
            atPath: scene.directory.path("backups"), withIntermediateDirectories: false,
            attributes: [.posixPermissions: 0o700])
        try scene.directory.write("good 1", to: "service.cfg")
        let empty = try await rehearse(scene, exits: 0)
        #expect(Set(empty.values.map(\.outcome)) == ["nothing"], "\(empty)")

        for text in ["good 1", "good 2"] {
            try scene.directory.write(text, to: "service.cfg")
            try await scene.certs("rotate", "messenger", exits: 0)
            try await scene.certs("maintenance", "run", "files", exits: 0)
            try await scene.certs("maintenance", "run", "nightly", exits: 0)
        }
        let served = try await scene.served()
        let ready = try await rehearse(scene, exits: 0)
        #expect(Set(ready.keys) == ["certificates", "files", "databases"])
        #expect(Set(ready.values.map(\.outcome)) == ["ready"], "\(ready)")
        #expect(ready["certificates"]?.detail.contains("revision 1") == true)
        #expect(try await scene.served() == served)
        #expect(try String(contentsOfFile: scene.directory.path("service.cfg"), encoding: .utf8) == "good 2")
        let databases = try await blocking.run {
            try server.psql("SELECT count(*) FROM pg_database WHERE datname LIKE 'certs_scratch_%'")
        }
        #expect(databases == "0")

        // An earlier version that does not pass any more, and a revision that lost its key.
        try scene.directory.write("bad", to: "service.cfg")
        try await scene.certs("maintenance", "run", "files", exits: 0)
        try scene.directory.write("good 3", to: "service.cfg")
        try await scene.certs("maintenance", "run", "files", exits: 0)
        for file in try FileManager.default.subpathsOfDirectory(atPath: scene.state)
        where file.contains("/1/") && file.hasSuffix(".pem") {
            try FileManager.default.removeItem(atPath: "\(scene.state)/\(file)")
        }
        let failed = try await rehearse(scene, exits: 1)
        #expect(
            failed["files"]?.outcome == "failed" && failed["files"]?.detail.contains("exit code 1") == true, "\(failed)"
        )
        #expect(failed["certificates"]?.outcome == "failed", "\(failed)")
        #expect(failed["databases"]?.outcome == "ready", "\(failed)")
    }
}
