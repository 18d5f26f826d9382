import CertsTesting
import Foundation
import Testing

/// What a person may write wrong in `certs.yml`: the place, what is wrong, and what to write instead; nothing is made.
@Suite struct BadConfigurationTests {
    struct Mistake: Sendable, CustomTestStringConvertible {
        let what: String
        let from: String
        let to: String
        /// What the message has to say.
        let says: [String]
        var testDescription: String { what }
    }

    static let mistakes = [
        Mistake(
            what: "misspelt key", from: "dnsNames:", to: "dnsName:", says: ["'dnsName'", "did you mean 'dnsNames'"]),
        Mistake(what: "unknown key", from: "version: 1", to: "version: 1\ncolour: red", says: ["'colour'"]),
        Mistake(
            what: "dangling issuer", from: "issuer: local", to: "issuer: locla",
            says: ["no issuer 'locla'", "did you mean 'local'"]),
        Mistake(
            what: "dangling target", from: "targets: [loadbalancer]", to: "targets: [loadbalancr]",
            says: ["no target 'loadbalancr'", "loadbalancer"]),
        Mistake(what: "name with a slash", from: "name: messenger", to: "name: a/b", says: ["'a/b'"]),
        Mistake(what: "name that leads up", from: "name: messenger", to: "name: ..", says: ["'..'"]),
        Mistake(
            what: "duplicate name", from: "targets:\n  - name: loadbalancer",
            to:
                "  - { name: messenger, dnsNames: [other.example.com], issuer: local }\ntargets:\n  - name: loadbalancer",
            says: ["a second certificate named 'messenger'"]),
        Mistake(what: "wrong type", from: "dnsNames: [", to: "dnsNames: {a: ", says: []),
        Mistake(what: "unknown algorithm", from: "ecdsa-p256", to: "ecdsa-p265", says: ["did you mean 'ecdsa-p256'"]),
        Mistake(what: "version to come", from: "version: 1", to: "version: 9", says: ["version '9'"]),
    ]

    @Test(arguments: mistakes)
    func `says where, what, and what to write instead`(_ mistake: Mistake) async throws {
        let scene = try await RotationScene.make(serves: false)
        try scene.writeConfiguration { $0.replacingOccurrences(of: mistake.from, with: mistake.to) }
        let bundle = FileManager.default.contents(atPath: scene.bundle)
        for command in ["check", "rotate", "plan"] {
            let run = try await scene.certs(command, exits: 1)
            #expect(run.output.isEmpty)
            #expect(run.errors.contains("\(scene.configuration):"), "\(run.all)")
            #expect(run.errors.contains(#/certs\.yml:[0-9]+:[0-9]+: /#), "\(run.all)")
            for part in mistake.says { #expect(run.errors.contains(part), "\(run.all)") }
        }
        #expect(!FileManager.default.fileExists(atPath: scene.state))
        #expect(FileManager.default.contents(atPath: scene.bundle) == bundle)
    }

    @Test func `a missing, unreadable or huge file is named`() async throws {
        let scene = try await RotationScene.make(serves: false)
        let missing = try await Program(arguments: [
            RotationScene.executable, "check", "--config", "/nowhere/certs.yml",
        ]).run()
        #expect(missing.status == 1)
        #expect(missing.errors.contains("/nowhere/certs.yml") && missing.errors.contains("certs init"))
        let folder = try await Program(arguments: [RotationScene.executable, "check", "--config", scene.directory.path])
            .run()
        #expect(folder.status == 1)
        #expect(folder.errors.contains("is a directory"))
        try scene.directory.write(Data(count: 50 << 20), to: "certs.yml")
        #expect(try await scene.certs("check", exits: 1).errors.contains("larger than 1 MiB"))
    }

    @Test func `a wrong command line is a usage error, and an unknown name is not found`() async throws {
        let scene = try await RotationScene.make(serves: false)
        try await scene.certs("rotat", exits: 64)
        try await scene.certs("rotate", "--all", "messenger", exits: 64)
        let unknown = try await scene.certs("rotate", "messager", exits: 4)
        #expect(unknown.errors.contains("'messager'") && unknown.errors.contains("messenger"))
    }
}
