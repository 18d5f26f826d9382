import CertsCore
import CertsCrypto
import CertsHAProxy
import Foundation

/// What a HAProxy with many certificates loads: P-256, one CA, one bundle each.
enum BundleFixtures {
    /// Writes `DIRECTORY/host-00000.pem` and so on, each for `host-00000.benchmark.example.com`.
    static func write(to directory: String, count: Int) throws {
        let now = Date()
        let authority = try LocalAuthority.make(policy: LocalAuthorityPolicy(commonName: "Benchmark CA"), now: now)
        let window = CertificateTemplate.window(validity: 90 * 86400, now: now)
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        for index in 0..<count {
            let host = host(index)
            let template = CertificateTemplate(
                subject: Subject(commonName: host), names: [.dns(host)], notBefore: window.notBefore,
                notAfter: window.notAfter)
            let key = try PrivateKey.generate(.ecdsaP256)
            let leaf = try template.sign(
                publicKey: key.publicKeyDER, issuer: authority.issuing, key: authority.issuingKey)
            let bundle = try CanonicalBundle.make(leaf: leaf, chain: [authority.issuing], key: try key.pem())
            // Keys of a benchmark, in a directory that only its owner may enter.
            try bundle.withBytes { try Data($0).write(to: URL(fileURLWithPath: path(in: directory, index))) }
        }
    }

    static func path(in directory: String, _ index: Int) -> String { "\(directory)/\(name(index)).pem" }
    static func host(_ index: Int) -> String { "\(name(index)).benchmark.example.com" }
    private static func name(_ index: Int) -> String { String(format: "host-%05d", index) }
}
