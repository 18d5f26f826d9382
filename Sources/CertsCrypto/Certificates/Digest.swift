internal import COpenSSL
import CertsCore
package import Foundation

/// The digests of fingerprints and pins.
package struct Digest: @unchecked Sendable {
    // @unchecked: an `EVP_MD *` is immutable and shared by design. It is fetched once: the one-shot functions of
    // OpenSSL 3 look the algorithm up again in each call, which costs more than hashing a certificate.
    private let algorithm: OpaquePointer?
    private let size: Int

    static let sha1 = Digest(name: "SHA1", size: 20)
    package static let sha256 = Digest(name: "SHA256", size: 32)

    private init(name: String, size: Int) {
        algorithm = EVP_MD_fetch(nil, name, nil)
        self.size = size
    }

    package func data(of bytes: some ContiguousBytes) -> Data {
        bytes.withUnsafeBytes { with($0) { Data($0) } ?? Data() }
    }

    func hexadecimal(of bytes: UnsafeRawBufferPointer) -> String { with(bytes) { ASN1.hexadecimal($0) } ?? "" }

    func base64(of bytes: UnsafeRawBufferPointer) -> String {
        with(bytes) { digest in
            String(unsafeUninitializedCapacity: 4 * ((size + 2) / 3) + 1) { text in
                max(0, Int(EVP_EncodeBlock(text.baseAddress, digest.baseAddress, Int32(size))))
            }
        } ?? ""
    }

    /// - Returns: `nil` only where OpenSSL cannot hash at all.
    func with<Result>(
        _ bytes: UnsafeRawBufferPointer, _ body: (UnsafeBufferPointer<UInt8>) -> Result
    ) -> Result? {
        guard let algorithm else { return nil }
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 64) { buffer in
            var written: UInt32 = 0
            guard EVP_Digest(bytes.baseAddress, bytes.count, buffer.baseAddress, &written, algorithm, nil) == 1,
                Int(written) == size
            else { return nil }
            return body(UnsafeBufferPointer(rebasing: buffer[..<size]))
        }
    }
}
