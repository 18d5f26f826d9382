import CertsCore
import CertsTesting
import Foundation
import Testing

@testable import CertsHAProxy

@Suite(.serialized) struct ReloadTargetTests {
    let site: Site

    init() throws { site = try Site() }

    private func signal(_ haproxy: RealHAProxy, validate: CertsCore.CommandLine? = nil, within: Duration = .seconds(10))
        throws -> any DeploymentTarget
    {
        try site.target(
            .signal(pidFile: haproxy.pidFile, signal: .usr2), port: haproxy.port, validate: validate, within: within)
    }

    @Test func takesTheOldFileBackWhenTheValidationFails() async throws {
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let check = CertsCore.CommandLine(arguments: [RealHAProxy.executable, "-c", "-f", haproxy.configuration])
        let target = try signal(haproxy, validate: check)
        let new = try site.bundle(2)
        let prepared = try await target.prepare(new, fallback: nil, now: Date())
        // The configuration is broken by somebody else meanwhile: a reload would fail, and the validation says so first.
        let good = try String(contentsOfFile: haproxy.configuration, encoding: .utf8)
        try site.directory.write(good + "nonsense\n", to: "haproxy.cfg")
        let failure = await error { try await target.apply(new, receipt: prepared.receipt, resuming: false) }
        #expect(failure?.code == .targetReloadFailed)
        #expect(failure?.message.contains("exit code 1") == true)
        #expect(failure?.message.contains("nonsense") == true)
        // The file is back, and the reload cannot load what somebody else broke: what is served stays.
        try await target.restore(
            prepared.receipt, previous: prepared.previousBundle, certificate: new.certificate, resuming: false)
        #expect(try await target.verifyRestored(prepared.receipt).map(\.served) == [site.first.fingerprint])
        #expect(site.onDisk == site.first.pem.data)
    }

    @Test func deploysABundleThatTheRuntimeAPICannotTake() async throws {
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let target = try signal(haproxy)
        let large = try site.bundle(2, chainCopies: 40)
        let receipt = try await target.prepare(large, fallback: nil, now: Date()).receipt
        try await target.apply(large, receipt: receipt, resuming: false)
        #expect(try await target.verify(large, receipt: receipt).observations.map(\.served) == [large.fingerprint])
    }

    /// A signal to a process without a master reloads nothing: that is said before anything is changed.
    @Test func changesNothingWhereAProcessHasNoMaster() async throws {
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path], isMaster: false)
        let target = try signal(haproxy)
        let new = try site.bundle(2)
        let failure = await error { _ = try await target.prepare(new, fallback: nil, now: Date()) }
        #expect(failure?.code == .targetReloadFailed)
        #expect(failure?.message.contains("without a master") == true, "\(failure?.message ?? "no error")")
        #expect(failure?.hint?.contains("`-W`") == true)
        #expect(site.onDisk == site.first.pem.data)
    }

    @Test func removesAFileThatWasNotThereBefore() async throws {
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.directory.path("certs")])
        let declaration = try NodeDeclaration(
            name: "t", bundle: site.directory.path("certs/{name}.pem"),
            reload: .signal(pidFile: haproxy.pidFile, signal: .usr2),
            endpoints: [Endpoint(host: "127.0.0.1", port: haproxy.port)])
        let target = TargetFactory.make(declaration, files: site.files, prober: HandshakeProber(), logger: Site.logger)
        let new = try site.bundle(2, names: ["new.test"])
        let prepared = try await target.prepare(new, fallback: nil, now: Date())
        #expect(prepared.previousBundle == nil && prepared.receipt.previous == nil)
        try await target.apply(new, receipt: prepared.receipt, resuming: false)
        _ = try await target.verify(new, receipt: prepared.receipt)
        try await target.restore(prepared.receipt, previous: nil, certificate: new.certificate, resuming: false)
        #expect(!FileManager.default.fileExists(atPath: site.directory.path("certs/messenger.pem")))
        #expect(try await target.verifyRestored(prepared.receipt).map(\.served) == [site.first.fingerprint])
    }

    @Test func restoresWhatIsServedWhenTheFileWasChangedByHand() async throws {
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let target = try signal(haproxy)
        try site.bundle(8).pem.data.write(to: URL(filePath: site.path))
        let new = try site.bundle(2)
        let prepared = try await target.prepare(new, fallback: site.first, now: Date())
        #expect(prepared.previousBundle == site.first.pem)
        #expect(prepared.findings.map(\.id) == ["memory-differs-from-disk"])
    }

    @Test func touchesNothingWhenTheDiskIsFull() async throws {
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let target = try signal(haproxy)
        let new = try site.bundle(2)
        let prepared = try await target.prepare(new, fallback: nil, now: Date())
        site.files.isFull = true
        #expect(
            await code { try await target.apply(new, receipt: prepared.receipt, resuming: false) } == .fileUnwritable)
        try await target.restore(
            prepared.receipt, previous: prepared.previousBundle, certificate: new.certificate, resuming: false)
        _ = try await target.verifyRestored(prepared.receipt)
        #expect(site.onDisk == site.first.pem.data)
    }

    // MARK: Pid files

    static let pidFiles: [(contents: String?, says: String)] = [
        (nil, "there is no file"), ("", "one process id"), ("-1\n", "one process id"), ("0", "one process id"),
        ("1", "one process id"),
        ("12 13", "one process id"), ("99999999999999999999", "one process id"), ("abc", "one process id"),
        ("2147483646", "is not running"), ("SELF", "not HAProxy"),
    ]

    @Test(arguments: pidFiles.indices)
    func neverSignalsWhatIsNotHAProxy(index: Int) async throws {
        let (contents, says) = Self.pidFiles[index]
        if let contents { try site.directory.write(contents == "SELF" ? "\(getpid())" : contents, to: "pid") }
        let target = try site.target(.signal(pidFile: site.directory.path("pid"), signal: .hup), port: 1)
        let new = try site.bundle(2)
        let failure = await error { _ = try await target.prepare(new, fallback: nil, now: Date()) }
        #expect(failure?.code == .targetReloadFailed)
        #expect(failure?.message.contains(says) == true, "\(failure?.message ?? "no error")")
        #expect(failure?.hint != nil)
    }

    // MARK: Commands

    private func run(_ arguments: [String], deadline: Duration = .seconds(20)) async -> CertsError? {
        await error {
            try await CertsCore.CommandLine(arguments: arguments, deadline: deadline).run(purpose: "the reload command")
        }
    }

    @Test func passesArgumentsWithoutAShell() async throws {
        let canary = site.directory.path("canary")
        #expect(await run(["true", "; touch \(canary)", "$(touch \(canary))", "`touch \(canary)`"]) == nil)
        #expect(await run(["test", "a b", "=", "a b"]) == nil)
        #expect(!FileManager.default.fileExists(atPath: canary))
    }

    @Test func givesACommandACleanEnvironment() async {
        setenv("CERTS_TEST_SECRET", "leaked", 1)
        let failure = await run(["sh", "-c", "env >&2; exit 3"])
        #expect(failure?.message.contains("exit code 3") == true)
        #expect(failure?.message.contains("leaked") == false)
        #expect(failure?.message.contains("PATH=") == true)
    }

    @Test func tellsTheLastLinesThatACommandPrinted() async {
        let failure = await run(["sh", "-c", "seq 1 100000; echo; echo because of \u{1b}[31mthis >&2; exit 7"])
        #expect(failure?.code == .targetReloadFailed)
        #expect(failure?.message.hasSuffix("failed (exit code 7): because of \\u{1b}[31mthis") == true)
    }

    @Test(arguments: [
        (["/nonexistent/program"], "could not be run"), (["no-such-program-anywhere"], "could not be run"),
        (["sh", "-c", "kill -9 $$"], "signal 9"), (["sh", "-c", "yes"], "could not be run"), ([], "is empty"),
    ])
    func namesEachFailure(arguments: [String], says: String) async {
        let failure = await run(arguments)
        #expect(failure?.message.contains(says) == true, "\(failure?.message ?? "no error")")
    }

    @Test(arguments: [["sleep", "60"], ["sh", "-c", "trap '' TERM; sleep 60"]])
    func endsACommandAtItsDeadline(arguments: [String]) async {
        let clock = ContinuousClock()
        var failure: CertsError?
        let elapsed = await clock.measure { failure = await run(arguments, deadline: .milliseconds(300)) }
        #expect(failure?.code == .targetReloadFailed)
        #expect(failure?.message.contains("did not end within") == true)
        #expect(elapsed < .seconds(40), "the command itself would take a minute")
    }

    @Test func doesNotWaitForWhatACommandLeavesRunning() async {
        #expect(await run(["sh", "-c", "setsid sleep 5 & exit 0"], deadline: .seconds(4)) == nil)
    }
}
