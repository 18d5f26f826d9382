import CertsCore
import CertsCrypto
import Foundation

/// The inventory's work on each file: PEM, certificate, every field of the record, its digests.
enum InventoryBenchmark {
    struct Figures: Encodable {
        let count: Int
        let seconds: [Double]
        let checksum: Int
    }

    /// The files are read before the clock starts; the first pass warms the caches and is not reported.
    static func run(directory: String, count: Int, passes: Int) throws {
        let files = try (0..<count).map { index in
            try Data(
                contentsOf: URL(fileURLWithPath: directory).appendingPathComponent(String(format: "%05d.pem", index)))
        }
        var checksum = 0
        var measured: [Double] = []
        for _ in 0...passes {
            measured.append(
                try processorSeconds {
                    for file in files {
                        let record = try CertificateReader.firstRecord(in: file)
                        checksum &+= record.subject.utf8.count &+ record.sha256.utf8.count
                    }
                })
        }
        try report(Figures(count: count, seconds: Array(measured.dropFirst()), checksum: checksum))
    }
}
