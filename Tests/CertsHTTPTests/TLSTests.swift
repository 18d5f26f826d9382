import CertsCore
import CertsHTTP
import CertsTesting
import Foundation
import Testing

/// `openssl s_server -www` with a self-signed certificate for 127.0.0.1, in a directory of its own.
private final class TLSServer {
    let directory: String
    let port: Int
    private let process = Process()

    init() async throws {
        directory = NSTemporaryDirectory() + "certs-tls-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        // A port that was free a moment ago: s_server cannot tell which one it got.
        port = try LoopbackPort.reserve()
        let directory = directory
        for name in ["right", "wrong"] {
            try await Self.run([
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj",
                "/CN=\(name)",
                "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "\(directory)/\(name).key", "-out",
                "\(directory)/\(name).pem",
            ])
        }
        process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        process.arguments = [
            "s_server", "-www", "-quiet", "-accept", "127.0.0.1:\(port)", "-cert", "\(directory)/right.pem", "-key",
            "\(directory)/right.key",
        ]
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
    }

    deinit {
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        try? FileManager.default.removeItem(atPath: directory)
    }

    /// Asks until the server listens, for at most 10 seconds.
    func get(trusting file: String, host: String = "127.0.0.1") async throws(CertsError) -> HTTPResponse {
        let client = HTTPClient(caFile: "\(directory)/\(file)")
        let deadline = ContinuousClock.now + .seconds(10)
        while true {
            do {
                return try await client.send(HTTPRequest(.get, "https://\(host):\(port)/"))
            } catch {
                guard error.message.contains("connect"), ContinuousClock.now < deadline else { throw error }
                try? await Task.sleep(for: .milliseconds(20))
            }
        }
    }

    private static func run(_ arguments: [String]) async throws {
        try await BlockingPool.shared.run {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
            process.arguments = arguments
            process.standardError = FileHandle.nullDevice
            try process.run()
            process.waitUntilExit()
            guard process.terminationStatus == 0 else { throw POSIXError(.EIO) }
        }
    }
}

@Suite("The HTTP client over TLS")
struct TLSTests {
    @Test("trusts the given CA file and nothing else")
    func caFile() async throws {
        let server = try await TLSServer()
        #expect(try await server.get(trusting: "right.pem").status == 200)
        do {
            _ = try await server.get(trusting: "wrong.pem")
            Issue.record("a certificate of an unknown CA was accepted")
        } catch {
            #expect(error.code == .http)
            #expect(error.retry == .never)
            #expect(error.hint?.contains("wrong.pem") == true)
        }
        do {
            _ = try await server.get(trusting: "right.pem", host: "localhost")
            Issue.record("a certificate for another name was accepted")
        } catch {
            #expect(error.retry == .never)
        }
        do {
            _ = try await server.get(trusting: "missing.pem")
            Issue.record("a missing CA file was ignored")
        } catch {
            #expect(error.hint?.contains("missing.pem") == true)
        }
    }

    @Test("the system's CAs do not know a self-signed certificate")
    func systemCAs() async throws {
        let server = try await TLSServer()
        _ = try await server.get(trusting: "right.pem")
        await #expect(throws: CertsError.self) {
            try await HTTPClient().send(HTTPRequest(.get, "https://127.0.0.1:\(server.port)/"))
        }
    }

    @Test("takes any certificate, also for another name, only where the request says so")
    func anyCertificate() async throws {
        let server = try await TLSServer()
        _ = try await server.get(trusting: "right.pem")
        var request = HTTPRequest(.get, "https://ca.example.com/")
        request.connectTo = ("127.0.0.1", server.port)
        do {
            _ = try await HTTPClient().send(request)
            Issue.record("a certificate of an unknown CA was accepted")
        } catch {
            #expect(error.retry == .never)
        }
        request.acceptsAnyCertificate = true
        #expect(try await HTTPClient().send(request).status == 200)
    }
}
