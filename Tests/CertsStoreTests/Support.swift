import CertsCore
import CertsStore
import Foundation
import Testing

/// A directory of one test (0700), removed when the value is released.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/certs-store-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw ShellFailure(text: "mkdtemp: errno \(errno)") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    static func / (directory: TemporaryDirectory, name: String) -> String { "\(directory.path)/\(name)" }

    /// A new state directory in it.
    func state() async throws -> StateDirectory { try await StateDirectory.open(at: path + "/state", create: true) }
}

struct ShellFailure: Error, CustomStringConvertible {
    let text: String
    var description: String { text }
}

/// Runs a program to its end; its absence or failure fails the test.
func run(_ program: String, _ arguments: String...) throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    try process.run()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
        throw ShellFailure(
            text: "\(program) \(arguments.joined(separator: " ")) ended with \(process.terminationStatus)")
    }
}

/// A child process that takes a lock on a directory with `flock` and holds it until it is killed.
final class LockHolder {
    private let process = Process()

    init(directory: String) throws {
        let script = """
            import fcntl, os, sys, time
            fd = os.open(sys.argv[1], os.O_RDONLY)
            fcntl.flock(fd, fcntl.LOCK_EX)
            print("held", flush=True)
            time.sleep(600)
            """
        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["python3", "-c", script, directory]
        process.standardOutput = output
        try process.run()
        let line = output.fileHandleForReading.availableData
        guard String(decoding: line, as: UTF8.self).hasPrefix("held") else {
            throw ShellFailure(text: "the holder did not take the lock")
        }
    }

    /// As `kill -9`; returns when the process is gone.
    func die() {
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    deinit { if process.isRunning { die() } }
}

func mode(_ path: String) throws -> Int {
    var status = stat()
    guard lstat(path, &status) == 0 else { throw ShellFailure(text: "lstat \(path): errno \(errno)") }
    return Int(status.st_mode & 0o7777)
}

func entries(_ path: String) throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }

func put(_ text: String, at path: String) throws { try Data(text.utf8).write(to: URL(fileURLWithPath: path)) }

func text(at path: String) throws -> String {
    String(decoding: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self)
}

extension Secret {
    convenience init(_ text: String) { self.init(copying: text.utf8) }
    var text: String { withBytes { String(decoding: $0, as: UTF8.self) } }
}

/// The error that `body` throws; a test that expects one fails without.
func failure(
    of what: Comment? = nil, location: SourceLocation = #_sourceLocation, _ body: () async throws -> Void
) async -> CertsError? {
    do {
        try await body()
        Issue.record(what ?? "nothing was thrown", sourceLocation: location)
        return nil
    } catch {
        return CertsError.wrapping(error)
    }
}

enum Sample {
    static let messenger = try? Name("messenger")
    static let day = 86400.0
    static let start = Date(timeIntervalSince1970: 1_800_000_000.25)

    static func name(_ text: String) throws -> Name { try Name(text) }

    static func record(_ number: Int = 1) -> CertificateRecord {
        var record = CertificateRecord()
        record.subject = "CN=host\(number).example.com,O=SilentRelay,C=US"
        record.issuer = "CN=SilentRelay Issuing CA,O=SilentRelay"
        record.subjectCommonName = "host\(number).example.com"
        record.issuerCommonName = "SilentRelay Issuing CA"
        record.serial = String(format: "%032x", number)
        record.dnsNames = ["host\(number).example.com", "www.host\(number).example.com"]
        record.ipAddresses = ["192.0.2.1"]
        record.notBefore = Date(timeIntervalSince1970: 1_790_000_000)
        record.notAfter = Date(timeIntervalSince1970: 1_797_776_000 + Double(number))
        record.keyAlgorithm = "ecdsa-p256"
        record.keyBits = 256
        record.signatureAlgorithm = "ecdsa-with-SHA256"
        record.keyUsage = ["digitalSignature"]
        record.extendedKeyUsage = ["serverAuth"]
        record.hasBasicConstraints = true
        record.pathLength = number % 2 == 0 ? number : nil
        record.subjectKeyID = String(repeating: "ab", count: 20)
        record.authorityKeyID = String(repeating: "cd", count: 20)
        record.ocspURLs = ["http://ocsp.example.com"]
        record.caIssuersURLs = ["http://ca.example.com/issuer.der"]
        record.sha1 = String(format: "%040x", number)
        record.sha256 = String(format: "%064x", number)
        record.spkiSHA256 = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
        return record
    }

    static func requested() throws -> RequestedProperties {
        RequestedProperties(
            subject: Subject(commonName: "host.example.com", organization: "SilentRelay", country: "US"),
            names: [.dns("host.example.com"), .email("ops@example.com")], keyAlgorithms: [.ecdsaP256, .rsa2048],
            issuer: try Name("local"))
    }

    /// A state with everything set.
    static func state(_ name: Name, number: Int = 1) throws -> CertificateState {
        var state = CertificateState(name: name)
        state.revision = 2
        state.issuedRevision = 3
        state.record = record(number)
        state.currentRecord = record(number + 1)
        state.currentAlternates = [record(number + 2).fingerprint].compactMap { $0 }
        state.staple = StapleDates(refreshAt: start.addingTimeInterval(7), nextUpdate: start.addingTimeInterval(8))
        state.requested = try requested()
        let leaf = try #require(record(number).fingerprint)
        state.hint = RenewalHint(
            start: start, end: start.addingTimeInterval(9), pick: start.addingTimeInterval(5),
            checkAt: start.addingTimeInterval(6), explanationURL: "https://ca.example.com/why", leaf: leaf)
        state.hintCheck = HintCheck(leaf: leaf, at: start.addingTimeInterval(Double(number)))
        state.hintCheck?.fail(CertsError(.http, "503", retry: .later), now: start)
        state.waitingFor = "a challenge"
        state.dueAt = start.addingTimeInterval(Double(number))
        state.dueReason = .thirdOfLifetime
        state.consecutiveFailures = 2
        state.nextAttemptAt = start.addingTimeInterval(60)
        state.isWaiting = true
        state.lastSuccessAt = start
        state.lastFailure = try failed(id: "x", name).failure
        let endpoint = Endpoint(host: "127.0.0.1", port: 443, serverName: "host.example.com")
        state.targets = [
            TargetObservation(
                node: NodeID(try Name("loadbalancer"), node: try Name("edge-1")), state: .verified,
                endpoints: [
                    EndpointObservation(
                        endpoint: endpoint, served: Fingerprint(hex: String(repeating: "0f", count: 32)),
                        servedNotAfter: start,
                        problem: nil, observedAt: start),
                    EndpointObservation(
                        endpoint: endpoint, served: nil, problem: "connection refused", observedAt: start),
                ])
        ]
        return state
    }

    static func rotation(id: String, _ certificate: Name, revision: Int = 1, startedAt: Date = start) throws -> Rotation
    {
        Rotation(
            id: id, certificate: certificate, revision: revision, purpose: .issue, reason: .notIssued,
            deployments: [Deployment(node: NodeID(try Name("loadbalancer")))], startedAt: startedAt)
    }

    /// Abandoned in `request`.
    static func failed(id: String, _ certificate: Name, startedAt: Date = start) throws -> Rotation {
        var rotation = try rotation(id: id, certificate, startedAt: startedAt)
        rotation.complete(at: startedAt)
        rotation.fail(CertsError(.openSSL, "no entropy", hint: "wait", retry: .after(start)), at: startedAt)
        rotation.complete(at: startedAt.addingTimeInterval(1.5))
        return rotation
    }

    /// Led to its end without a target.
    static func committed(id: String, _ certificate: Name, revision: Int) -> Rotation {
        var rotation = Rotation(
            id: id, certificate: certificate, revision: revision, purpose: .issue, reason: .beforeExpiry,
            deployments: [],
            startedAt: start)
        while !rotation.isFinished { rotation.complete(at: start.addingTimeInterval(2.125)) }
        return rotation
    }
}
