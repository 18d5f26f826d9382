import CertsCore
import CertsCrypto
import CertsHAProxy
import Foundation
import Logging

/// Hot swaps at the socket of a real HAProxy.
enum SwapBenchmark {
    struct Figures: Encodable {
        let count: Int
        /// Of `set` and `commit` alone.
        let seconds: [Double]
        /// Of the whole swap, with everything that is read back.
        let whole: [Double]
    }

    /// Puts the bundles of `fresh` under the names of those in `live`, one after the other, and once more as whole swaps.
    /// The files are read before the clock starts.
    static func run(socket: String, live: String, fresh: String, count: Int) async throws {
        let swaps = try (0..<count).map { index in
            let bytes = try Data(contentsOf: URL(fileURLWithPath: BundleFixtures.path(in: fresh, index)))
            let leaf = try CertificateReader.firstRecord(in: bytes)
            return (path: BundleFixtures.path(in: live, index), bundle: Secret(copying: bytes), leaf: leaf)
        }
        var logger = Logger(label: "benchmark")
        logger.logLevel = .warning
        let hot = HotSwap(socket: socket, logger: logger)
        var (pairs, whole): ([Double], [Double]) = ([], [])
        for swap in swaps {
            pairs.append(try await seconds { try await hot.exchange(swap.path, for: swap.bundle) })
        }
        for swap in swaps {
            whole.append(try await seconds { try await hot.swap(swap.path, to: swap.bundle, leaf: swap.leaf) })
        }
        try report(Figures(count: count, seconds: pairs, whole: whole))
    }
}
