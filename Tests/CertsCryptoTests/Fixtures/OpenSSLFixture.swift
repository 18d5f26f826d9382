import CertsCrypto
import Foundation

/// Certificates made by the `openssl` command line, an implementation that is independent of ours where it matters: it
/// builds them, and it prints what is in them.
struct OpenSSLFixture {
    struct Failure: Error, CustomStringConvertible { let description: String }

    /// One made certificate with the files that belong to it.
    struct Made {
        let name: String
        let certificate: Certificate
        let pem: Data
    }

    let directory: URL

    init() throws {
        directory = FileManager.default.temporaryDirectory.appending(path: "certs-fixture-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    }

    func remove() { try? FileManager.default.removeItem(at: directory) }

    /// A certificate with the given extension lines (the syntax of `openssl.cnf`), self-signed without `issuer`.
    func make(
        _ name: String, subject: String? = nil, issuer: Made? = nil, key: [String] = ["EC", "ec_paramgen_curve:P-256"],
        days: Int = 30, digest: String = "-sha256", serial: String? = nil, reuseKeyOf other: Made? = nil,
        extensions: [String]
    ) throws -> Made {
        let keyFile = path(name + ".key")
        if let other {
            try FileManager.default.copyItem(atPath: path(other.name + ".key"), toPath: keyFile)
        } else {
            var arguments = ["genpkey", "-out", keyFile, "-algorithm", key[0]]
            for option in key.dropFirst() { arguments += ["-pkeyopt", option] }
            try openssl(arguments)
        }
        let configuration = path(name + ".cnf")
        let text = "[req]\ndistinguished_name=dn\nprompt=no\n[dn]\n[ext]\n" + extensions.joined(separator: "\n") + "\n"
        try Data(text.utf8).write(to: URL(fileURLWithPath: configuration))
        var arguments = [
            "req", "-x509", "-new", "-key", keyFile, "-subj", subject ?? "/CN=\(name)", "-days", String(days), digest,
            "-config", configuration, "-extensions", "ext", "-out", path(name + ".pem"), "-utf8", "-multivalue-rdn",
        ]
        arguments += ["-set_serial", serial ?? "0x\(String(format: "%016llx", UInt64.random(in: 1...(.max / 2))))"]
        if let issuer { arguments += ["-CA", path(issuer.name + ".pem"), "-CAkey", path(issuer.name + ".key")] }
        try openssl(arguments)
        let pem = try Data(contentsOf: URL(fileURLWithPath: path(name + ".pem")))
        guard let certificate = try CertificateReader.certificates(in: pem).first else {
            throw Failure(description: "no certificate")
        }
        return Made(name: name, certificate: certificate, pem: pem)
    }

    func path(_ file: String) -> String { directory.appending(path: file).path }

    @discardableResult
    func openssl(_ arguments: [String]) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        process.arguments = arguments
        let (output, errors) = (Pipe(), Pipe())
        process.standardOutput = output
        process.standardError = errors
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let text = output.fileHandleForReading.readDataToEndOfFile()
        let complaint = errors.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw Failure(
                description:
                    "openssl \(arguments.joined(separator: " ")): \(String(decoding: complaint, as: UTF8.self))")
        }
        return String(decoding: text, as: UTF8.self)
    }

    // MARK: - A usual PKI

    static let authority = [
        "basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign", "subjectKeyIdentifier=hash",
        "authorityKeyIdentifier=keyid",
    ]
    static func server(_ names: String) -> [String] {
        [
            "basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature", "extendedKeyUsage=serverAuth",
            "subjectKeyIdentifier=hash", "authorityKeyIdentifier=keyid", "subjectAltName=\(names)",
        ]
    }

    /// Root, intermediate and a server certificate for `www.example.com`.
    struct Chain {
        let root: Made
        let intermediate: Made
        let leaf: Made
    }

    func chain(intermediate extra: [String] = [], leaf names: String = "DNS:www.example.com") throws -> Chain {
        let root = try make("Test Root", days: 300, extensions: Self.authority)
        let middle = try make("Test Issuing", issuer: root, days: 200, extensions: Self.authority + extra)
        return Chain(
            root: root, intermediate: middle,
            leaf: try make("www.example.com", issuer: middle, extensions: Self.server(names)))
    }
}
