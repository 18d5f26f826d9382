import CertsCore
import CertsTesting
import Foundation
import NIOCore
import NIOPosix
import Testing

@testable import CertsHAProxy

@Suite struct LoopExecutorTests {
    @Test func `a conversation of several commands stays on the thread of one event loop`() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path], isMaster: false)
        let connection = RuntimeConnection(socket: haproxy.socket)
        let loops = try await LoopExecutor.run { () async throws(CertsError) -> [ObjectIdentifier?] in
            var loops = [Self.current]
            for _ in 0..<5 {
                let reply = try await connection.send(.showProcess)
                #expect(reply.contains("Name: HAProxy"))
                loops.append(Self.current)
            }
            return loops
        }
        #expect(loops.first != .some(nil))
        #expect(Set(loops).count == 1)
    }

    @Test func `an error comes out of it as it was thrown`() async throws {
        let connection = RuntimeConnection(socket: "/nowhere/admin.sock")
        let error = await #expect(throws: CertsError.self) {
            try await LoopExecutor.run { () async throws(CertsError) in try await connection.send(.showProcess) }
        }
        #expect(error?.code == .targetUnreachable)
    }

    private static var current: ObjectIdentifier? {
        MultiThreadedEventLoopGroup.currentEventLoop.map { ObjectIdentifier($0) }
    }
}
