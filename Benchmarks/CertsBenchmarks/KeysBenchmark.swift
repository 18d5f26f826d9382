import CertsCore
import CertsCrypto
import Foundation

/// Fresh keys, each with a certification request.
enum KeysBenchmark {
    struct Figures: Encodable {
        let count: Int
        let seconds: Double
        let checksum: Int
    }

    private static let subject = Subject(
        commonName: "messenger.example.com", organization: "SilentRelay", country: "US")
    private static let names: [AlternativeName] = [.dns("messenger.example.com"), .dns("www.messenger.example.com")]

    /// One after the other on one thread; one round before the clock starts loads the algorithms.
    static func run(_ algorithm: String, count: Int) throws {
        let algorithm = try parse(algorithm)
        var checksum = try size(of: algorithm)
        let elapsed = try processorSeconds {
            for _ in 0..<count { checksum &+= try size(of: algorithm) }
        }
        try report(Figures(count: count, seconds: elapsed, checksum: checksum))
    }

    /// All at once through the pool of the product, `width` at a time.
    static func runParallel(_ algorithm: String, count: Int, width: Int) async throws {
        let algorithm = try parse(algorithm)
        let pool = BlockingPool(name: "benchmark", width: width)
        var checksum = try size(of: algorithm)
        let elapsed = try await seconds {
            checksum &+= try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<count { group.addTask { try await pool.run { try size(of: algorithm) } } }
                return try await group.reduce(0, &+)
            }
        }
        try report(Figures(count: count, seconds: elapsed, checksum: checksum))
    }

    private static func size(of algorithm: KeyAlgorithm) throws -> Int {
        let key = try PrivateKey.generate(algorithm)
        return try CertificateRequest.make(subject: subject, names: names, key: key).der.count
    }

    private static func parse(_ word: String) throws -> KeyAlgorithm {
        guard let algorithm = KeyAlgorithm(rawValue: word) else {
            throw CertsError(.usage, "'\(word)' is not a key algorithm", hint: "write rsa-2048 or ecdsa-p256")
        }
        return algorithm
    }
}
