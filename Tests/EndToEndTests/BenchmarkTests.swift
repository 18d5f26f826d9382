import CertsTesting
import Foundation
import Testing

/// The benchmark on a real HAProxy, small: that it measures what it says it does, not how fast this machine is.
@Suite struct BenchmarkTests {
    @Test func `the benchmark with many certificates runs to its end, and no connection fails`() async throws {
        let root = URL(filePath: #filePath).appending(path: "../../..").standardizedFileURL.path
        let built = URL(filePath: RotationScene.executable).deletingLastPathComponent().path
        let peers = try TemporaryDirectory(prefix: "bench")
        let compiled = try await Program(arguments: ["\(root)/Benchmarks/peers/build", peers.path]).run()
        try #require(compiled.status == 0, "\(compiled.all)")
        let run = try await Program(
            arguments: [
                "python3", "\(root)/Benchmarks/haproxy.py", "--quick", "--certs", RotationScene.executable, "--ours",
                "\(built)/CertsBenchmarks", "--peers", peers.path,
            ], deadline: 300
        ).run()
        try #require(run.status == 0, "\(run.all)")
        let rows = run.text.split(separator: "\n").filter { $0.hasPrefix("|") }.map {
            $0.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
        }
        func row(_ name: String) throws -> [String] { try #require(rows.first { $0.first == name }, "\(run.all)") }
        #expect(try row("certs rotate --all, 20 certificates, each verified")[1].hasSuffix("s of processor)"))
        #expect(try row("set + commit of one certificate")[2].contains("bare loop"))
        #expect(rows.count { $0.first?.hasPrefix("20 endpoints × 16 handshakes") == true } == 2)
        for load in ["200 connections/s", "connections back to back"] {
            #expect(try row("\(load), 20 swaps and 2 reloads: failed")[1].hasPrefix("0 of "), "\(run.all)")
        }
    }
}
