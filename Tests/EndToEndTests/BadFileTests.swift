import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

/// Certificate and key files that are not what they should be, in every command that reads one.
@Suite struct BadFileTests {
    /// Files in one directory, made once.
    struct Files: Sendable {
        let directory: TemporaryDirectory
        let good: String
        let root: String

        init() throws {
            directory = try TemporaryDirectory(prefix: "certs-e2e-files")
            let pki = try TestPKI()
            let leaf = try pki.leaf(["www.example.com"])
            good = try directory.write(leaf.certificate.pem + pki.intermediate.certificate.pem, to: "good.pem")
            root = try directory.write(pki.root.certificate.pem, to: "root.pem")
            try directory.write(leaf.keyPEM, to: "key.pem")
            try directory.write(PrivateKey.generate(.ecdsaP256).pem().withBytes { Data($0) }, to: "other-key.pem")
            try directory.write("", to: "empty.pem")
            try directory.write(String(leaf.certificate.pem.prefix(300)), to: "truncated.pem")
            try directory.write(Data((0..<2000).map { UInt8(truncatingIfNeeded: $0 &* 167) | 1 }), to: "garbage.pem")
            try directory.write(leaf.certificate.der.dropLast(40), to: "truncated.der")
            try directory.write(
                Data("-----BEGIN CERTIFICATE-----\n".utf8) + leaf.certificate.der
                    + Data("\n-----END CERTIFICATE-----\n".utf8),
                to: "der-as.pem")
            try directory.write(Data(repeating: 65, count: 50 << 20), to: "huge.pem")
            try FileManager.default.createDirectory(
                atPath: directory.path("folder.pem"), withIntermediateDirectories: false)
            guard mkfifo(directory.path("fifo.pem"), 0o600) == 0 else { throw POSIXError(.EIO) }
        }
    }

    private static let files = Result { try Files() }

    struct Row: Sendable, CustomTestStringConvertible {
        let file: String
        let says: String
        /// Of `inspect`.
        var exit: Int32 = 1
        var testDescription: String { file }
    }

    static let rows = [
        Row(file: "nowhere.pem", says: "No such file"), Row(file: "empty.pem", says: "is empty"),
        Row(file: "truncated.pem", says: "cut off"), Row(file: "truncated.der", says: "certificate"),
        Row(file: "garbage.pem", says: "no certificate", exit: 4), Row(file: "der-as.pem", says: "base64"),
        Row(file: "huge.pem", says: "larger than"), Row(file: "folder.pem", says: "not a regular file"),
        Row(file: "fifo.pem", says: "not a regular file"),
    ]

    private func run(_ arguments: String...) async throws -> Program.Outcome {
        try await Program(arguments: [RotationScene.executable] + arguments, deadline: 20).run()
    }

    @Test(arguments: rows)
    func `inspect and verify name the file and the next step`(_ row: Row) async throws {
        let files = try Self.files.get()
        let path = files.directory.path(row.file)
        let inspected = try await run("inspect", path)
        #expect(inspected.status == row.exit, "\(inspected.all)")
        #expect(inspected.output.isEmpty)
        #expect(inspected.errors.contains(path), "\(inspected.all)")
        #expect(inspected.errors.contains(row.says), "\(inspected.all)")
        #expect(inspected.errors.contains("; "), "no next step: \(inspected.all)")
        for arguments in [["--roots", files.root, path], ["--roots", path, files.good]] {
            let verified = try await Program(arguments: [RotationScene.executable, "verify"] + arguments).run()
            #expect(verified.status == 1, "\(verified.all)")
            #expect((verified.text + verified.errors).contains(path), "\(verified.all)")
            #expect((verified.text + verified.errors).contains(row.says), "\(verified.all)")
        }
    }

    @Test func `der that is called pem is read as what it is`() async throws {
        let files = try Self.files.get()
        let der = try #require(
            try CertificateReader.certificates(in: Data(contentsOf: URL(filePath: files.good))).first
        ).der
        let path = try files.directory.write(der, to: "really-der.pem")
        let inspected = try await run("inspect", path)
        #expect(inspected.status == 0, "\(inspected.all)")
        #expect(inspected.text.contains("www.example.com"))
    }

    @Test func `keys that cannot be used are named, without a prompt`() async throws {
        let files = try Self.files.get()
        let encrypted = files.directory.path("encrypted-key.pem")
        try await tool(
            "openssl", "pkcs8", "-topk8", "-in", files.directory.path("key.pem"), "-passout", "pass:secret", "-out",
            encrypted)
        let refused = try await run("inspect", files.good, "--key", encrypted)
        #expect(refused.status == 1)
        #expect(refused.errors.contains(encrypted) && refused.errors.contains("passphrase"), "\(refused.all)")
        let passphrase = try files.directory.write("secret\n", to: "passphrase")
        let accepted = try await run("inspect", files.good, "--key", encrypted, "--passphrase-file", passphrase)
        #expect(accepted.status == 0, "\(accepted.all)")
        #expect(!accepted.text.contains("key-mismatch"))
        let other = try await run("inspect", files.good, "--key", files.directory.path("other-key.pem"), "-o", "json")
        #expect(other.text.contains("key-mismatch"), "\(other.all)")
        let none = try await run("inspect", files.good, "--key", files.directory.path("garbage.pem"))
        #expect(none.status == 1)
        #expect(none.errors.contains(files.directory.path("garbage.pem")), "\(none.all)")
    }

    /// An answer that an external CA might send.
    enum Answer: String, CaseIterable, CustomTestStringConvertible {
        case expired, notYetValid, otherNames, otherKey, authority, truncated, garbage, huge, empty
        var testDescription: String { rawValue }

        var says: String {
            switch self {
            case .expired: "expired"
            case .notYetValid: "not-yet-valid"
            case .otherNames: "names-"
            case .otherKey: "no certificate in the file is for the key"
            case .authority: "leaf-is-ca"
            case .truncated: "cut off"
            case .garbage: "no certificate"
            case .huge: "larger than"
            case .empty: "is empty"
            }
        }
    }

    @Test func `import refuses what cannot be served, and goes on waiting`() async throws {
        let scene = try await RotationScene.make(
            .init(issuers: "corporate: { type: hand-off, anchors: DIR/root.pem }", issuer: "corporate"), serves: false)
        try scene.directory.write(scene.pki.root.certificate.pem, to: "root.pem")
        try await scene.balancer.start()
        let request = try await scene.certs("csr", "messenger", exits: 0).text
        let pem = try Data(contentsOf: URL(filePath: scene.state + "/live/messenger/1/key.pem"))
        let key = try PrivateKey(pem: Secret(copying: pem))
        let before = try await scene.served()
        for answer in Answer.allCases {
            let path = try write(answer, scene, key)
            let run = try await scene.certs("import", "messenger", "--certificate", path)
            #expect([1, 4].contains(run.status), "\(answer): \(run.all)")
            #expect(run.errors.contains(answer.says), "\(answer): \(run.all)")
            #expect(run.errors.contains("; "), "\(answer): no next step: \(run.all)")
        }
        #expect(try await scene.served() == before)
        #expect(try await scene.status().state == "waiting")
        #expect(try await scene.certs("csr", "messenger", exits: 0).text == request)
        let good =
            try scene.pki.leaf([RotationScene.name], key: key).certificate.pem + scene.pki.intermediate.certificate.pem
        try await scene.certs(
            "import", "messenger", "--certificate", try scene.directory.write(good, to: "good.pem"), exits: 0)
        #expect(try await scene.served() == (try await scene.status().sha256))
    }

    private func write(_ answer: Answer, _ scene: RotationScene, _ key: PrivateKey) throws -> String {
        let (pki, day) = (scene.pki, 86400.0)
        func leaf(_ key: PrivateKey?, _ names: [String] = [RotationScene.name], _ change: TestPKI.Change = { _ in })
            throws -> Data
        {
            Data((try pki.leaf(names, key: key, change).certificate.pem + pki.intermediate.certificate.pem).utf8)
        }
        let bytes: Data =
            switch answer {
            case .expired: try leaf(key) { ($0.notBefore, $0.notAfter) = (pki.now - 9 * day, pki.now - day) }
            case .notYetValid: try leaf(key) { ($0.notBefore, $0.notAfter) = (pki.now + day, pki.now + 9 * day) }
            case .otherNames: try leaf(key, ["other.example.com"])
            case .otherKey: try leaf(nil)
            case .authority: try leaf(key) { $0.basicConstraints = .authority(pathLength: nil) }
            case .truncated: try leaf(key).prefix(400)
            case .garbage: Data(repeating: 0x41, count: 3000)
            case .huge: Data(repeating: 0x41, count: 50 << 20)
            case .empty: Data()
            }
        return try scene.directory.write(bytes, to: "answer-\(answer).pem")
    }
}
