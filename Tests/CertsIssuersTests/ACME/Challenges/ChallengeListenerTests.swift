import CertsCore
import Foundation
import Logging
import Synchronization
import Testing

@testable import CertsIssuers

@Suite(.timeLimit(.minutes(2))) struct ChallengeListenerTests {
    /// Stays open until it is let go, as a real one does until its loop has closed it.
    private final class SlowListener: StoppableListener {
        private let gate = AsyncStream<Void>.makeStream()

        func letGo() { gate.continuation.finish() }
        func stop() async { for await _ in gate.stream {} }
    }

    private final class Opened: Sendable {
        let all = Mutex<[(listener: SlowListener, proofs: ShownProofs<String>)]>([])
        let isTaken = Atomic(false)
    }

    @Test func aListenerThatIsAboutToCloseShowsNothingThatTheNextOneWillShow() async throws {
        let opened = Opened()
        let address = try #require(SocketAddress("127.0.0.1:8402"))
        let listener = ChallengeListener<String>(address) { (_, proofs) throws(CertsError) in
            if opened.isTaken.load(ordering: .relaxed) { throw CertsError(.listenInUse, "taken") }
            let made = SlowListener()
            opened.all.withLock { $0.append((made, proofs)) }
            return made
        }
        let identity = ProofSource.value(UUID())
        let source: (ProofSource, ChallengeListener<String>.Lookup) = (identity, { _ in "of another process" })
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        try listener.show("first", under: "a", source: source, logger: logger)
        let old = try #require(opened.all.withLock { $0.first })
        #expect(old.proofs.here("a") == "first")

        opened.isTaken.store(true, ordering: .relaxed)
        async let hidden: Void = listener.hide("a", source: identity)
        while listener.isListening { await Task.yield() }
        try listener.show("second", under: "b", source: source, logger: logger)
        #expect(old.proofs.here("b") == nil)
        #expect(await old.proofs.elsewhere("b") == nil)

        old.listener.letGo()
        await hidden
        opened.isTaken.store(false, ordering: .relaxed)
        while !listener.isListening { try await Task.sleep(for: .milliseconds(5)) }
        let new = try #require(opened.all.withLock { $0.last })
        #expect(new.proofs.here("b") == "second")
        new.listener.letGo()
        await listener.hide("b", source: identity)
    }
}
