import CertsCore
import CertsTesting
import Foundation
import Testing

@testable import CertsIssuers

/// What every solver promises (`ChallengeSolver.swift`).
struct ChallengeSolverConformance: Sendable {
    /// A solver as a new process makes it: it shares with another one only what is on disk.
    /// - Parameter timeout: of its self-check, in seconds.
    let newProcess: @Sendable (_ timeout: TimeInterval) async throws -> any ChallengeSolver
    let proof: @Sendable (Int) -> ChallengeProof
    /// Whether nothing is left behind that only the solver can see.
    let isClean: @Sendable () -> Bool

    func twiceIsOnce() async throws {
        let solver = try await newProcess(10)
        let proof = proof(0)
        try await solver.present(proof)
        try await solver.present(proof)
        try await solver.check(proof)
        try await solver.remove(proof)
        try await solver.remove(proof)
        #expect(isClean())
        await #expect(throws: CertsError(.challengeFailed, "")) { try await newProcess(0.2).check(proof) }
    }

    func removingOneLeavesTheOthers() async throws {
        let solver = try await newProcess(10)
        try await solver.present(proof(0))
        try await solver.present(proof(1))
        try await solver.remove(proof(0))
        try await solver.check(proof(1))
        await #expect(throws: CertsError(.challengeFailed, "")) { try await newProcess(0.2).check(proof(0)) }
        try await solver.remove(proof(1))
        #expect(isClean())
    }

    func aNewProcessRemovesWhatADeadOneShowed() async throws {
        let proof = proof(0)
        // The first process ends with the scope, without a chance to clean up.
        try await newProcess(10).present(proof)
        #expect(!isClean())
        let second = try await newProcess(10)
        try await second.remove(proof)
        #expect(isClean())
        await #expect(throws: CertsError(.challengeFailed, "")) { try await newProcess(0.2).check(proof) }
    }

    func aNewProcessGoesOnWithWhatADeadOneShowed() async throws {
        let proof = proof(0)
        try await newProcess(10).present(proof)
        let second = try await newProcess(10)
        try await second.present(proof)
        try await second.check(proof)
        try await second.remove(proof)
        #expect(isClean())
    }

    func fiftyTogether() async throws {
        let solver = try await newProcess(20)
        let failures = await concurrently(Array(0..<50), width: 50) { index -> String? in
            do {
                try await solver.present(proof(index))
                try await solver.check(proof(index))
                try await solver.remove(proof(index))
                return nil
            } catch {
                return "\(error)"
            }
        }
        #expect(failures.compactMap { $0 } == [])
        #expect(isClean())
    }

    func twoProcessesShareOnePlace() async throws {
        let first = try await newProcess(10)
        let second = try await newProcess(10)
        try await first.present(proof(1))
        try await second.present(proof(2))
        for (solver, index) in [(first, 1), (first, 2), (second, 1), (second, 2)] {
            try await solver.check(proof(index))
        }
        try await first.remove(proof(1))
        try await second.check(proof(2))
        // And back again, while the second still shows its own.
        try await first.present(proof(3))
        try await second.remove(proof(2))
        try await first.check(proof(3))
        try await first.remove(proof(3))
        #expect(isClean())
    }
}

@Suite struct ChallengeSolverConformanceTests {
    enum Kind: CaseIterable { case httpListener, httpDirectory, tlsALPN }

    /// With what has to live as long as the test.
    struct Subject {
        let solvers: ChallengeSolverConformance
        let scene: ChallengeScene
        let server: FolderServer?

        init(_ kind: Kind) async throws {
            let scene = try await ChallengeScene()
            self.scene = scene
            let server = try kind == .httpDirectory ? await FolderServer(scene.directory) : nil
            self.server = server
            let type: ChallengeType = kind == .tlsALPN ? .tlsALPN01 : .http01
            let names = (0..<50).map { "host\($0).example.com" }
            let proofs = names.map { ChallengeScene.proof(type, .dns($0)) }
            solvers = ChallengeSolverConformance { timeout in
                let state = try await scene.secondState()
                let listeners = ChallengeListeners()
                let check = scene.selfCheck(timeout: timeout)
                switch kind {
                case .httpListener: return scene.http(files: state, listeners: listeners, selfCheck: check)
                case .tlsALPN: return scene.tls(files: state, listeners: listeners, selfCheck: check)
                case .httpDirectory:
                    let folder = try #require(server)
                    return scene.http(
                        .directory(folder.path), selfCheck: SelfCheck(address: folder.address, timeout: timeout))
                }
            } proof: {
                proofs[$0]
            } isClean: {
                scene.files(type).isEmpty && (server?.files ?? []).isEmpty
            }
        }
    }

    @Test(arguments: Kind.allCases) func twiceIsOnce(_ kind: Kind) async throws {
        let subject = try await Subject(kind)
        try await subject.solvers.twiceIsOnce()
        withExtendedLifetime(subject) {}
    }

    @Test(arguments: Kind.allCases) func removingOneLeavesTheOthers(_ kind: Kind) async throws {
        let subject = try await Subject(kind)
        try await subject.solvers.removingOneLeavesTheOthers()
        withExtendedLifetime(subject) {}
    }

    @Test(arguments: Kind.allCases) func aNewProcessRemovesWhatADeadOneShowed(_ kind: Kind) async throws {
        let subject = try await Subject(kind)
        try await subject.solvers.aNewProcessRemovesWhatADeadOneShowed()
        withExtendedLifetime(subject) {}
    }

    @Test(arguments: Kind.allCases) func aNewProcessGoesOnWithWhatADeadOneShowed(_ kind: Kind) async throws {
        let subject = try await Subject(kind)
        try await subject.solvers.aNewProcessGoesOnWithWhatADeadOneShowed()
        withExtendedLifetime(subject) {}
    }

    @Test(arguments: Kind.allCases) func fiftyTogether(_ kind: Kind) async throws {
        let subject = try await Subject(kind)
        try await subject.solvers.fiftyTogether()
        withExtendedLifetime(subject) {}
    }

    @Test(arguments: Kind.allCases) func twoProcessesShareOnePlace(_ kind: Kind) async throws {
        let subject = try await Subject(kind)
        try await subject.solvers.twoProcessesShareOnePlace()
        withExtendedLifetime(subject) {}
    }
}

/// Python's HTTP server over a directory with the path of the challenges in it, ended with its last reference.
final class FolderServer: Sendable {
    /// What is served below the path.
    let path: String
    let address: SocketAddress
    private let process: Int32

    init(_ directory: TemporaryDirectory) async throws {
        let root = directory.path("www")
        path = root + "/.well-known/acme-challenge"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        let port = try LoopbackPort.reserve()
        address = try ChallengeScene.address(port)
        process = try Tool.start([
            "python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory", root, String(port),
        ])
        for _ in 0..<500 {
            if LoopbackClient(port: port).isConnected { return }
            try await Task.sleep(for: .milliseconds(20))
        }
        throw CertsError(.internal, "python3 does not serve")
    }

    deinit {
        kill(process, SIGKILL)
        Tool.wait(for: process)
    }

    var files: [String] { (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? [] }
}
