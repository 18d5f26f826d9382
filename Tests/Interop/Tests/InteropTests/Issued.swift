import Foundation
import SwiftASN1
import X509

/// What `certs` wrote for one certificate of `certs.yml`, read by swift-certificates.
struct Issued {
    let leaf: Certificate
    let intermediates: [Certificate]
    let request: CertificateSigningRequest
    let key: Certificate.PrivateKey

    init(_ name: String) throws {
        let directory = try State.directory.get().appending(path: "live/\(name)/1")
        leaf = try Certificate(pemEncoded: State.text(directory.appending(path: "cert.pem")))
        intermediates = try PEMDocument.parseMultiple(pemString: State.text(directory.appending(path: "chain.pem")))
            .map { try Certificate(pemDocument: $0) }
        request = try CertificateSigningRequest(pemEncoded: State.text(directory.appending(path: "csr.pem")))
        key = try Certificate.PrivateKey(pemEncoded: State.text(directory.appending(path: "key.pem")))
    }

    /// The root of the local CA `issuer`.
    static func root(of issuer: String) throws -> Certificate {
        let file = try State.directory.get().appending(path: "authorities/\(issuer)/root.pem")
        return try Certificate(pemEncoded: State.text(file))
    }
}

/// The state directory that the program filled, once for all tests.
enum State {
    static let directory = Result { try generate() }

    static func text(_ file: URL) throws -> String {
        do { return try String(contentsOf: file, encoding: .utf8) } catch { throw Problem("\(file.path): \(error)") }
    }

    /// Runs `certs rotate --all` on a copy of `certs.yml` in a fresh directory.
    private static func generate() throws -> URL {
        guard let program = ProcessInfo.processInfo.environment["CERTS_BINARY"] else {
            throw Problem("CERTS_BINARY is not set: it must be the absolute path of the built program")
        }
        let package = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        // Below `.build` and emptied at each start: the keys of one run are all that ever lies around.
        let directory = package.appending(path: ".build/issued")
        try? FileManager.default.removeItem(at: directory)
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        let configuration = directory.appending(path: "certs.yml")
        try FileManager.default.copyItem(at: package.appending(path: "certs.yml"), to: configuration)

        let process = Process()
        process.executableURL = URL(filePath: program)
        process.arguments = ["--config", configuration.path, "rotate", "--all"]
        process.standardInput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        guard process.terminationReason == .exit, process.terminationStatus == 0 else {
            throw Problem("certs rotate --all ended with \(process.terminationStatus)")
        }
        return directory.appending(path: "state")
    }
}

struct Problem: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
