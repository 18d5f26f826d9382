internal import COpenSSL
import CertsCore
import Foundation

/// A BIO in memory, owned by one scope.
struct MemoryBIO: ~Copyable {
    /// `BIO *`; valid as long as this value.
    let pointer: OpaquePointer

    /// An empty BIO to write into.
    init() throws(CertsError) {
        guard let bio = BIO_new(BIO_s_mem()) else { throw .openSSL(.openSSL, "cannot allocate a buffer") }
        pointer = bio
    }

    /// What a BIO that holds key material is made of: memory that OpenSSL cleanses when it is freed.
    init(forSecrets: Void) throws(CertsError) {
        guard let bio = BIO_new(BIO_s_secmem()) else { throw .openSSL(.openSSL, "cannot allocate a buffer") }
        pointer = bio
    }

    deinit { BIO_free_all(pointer) }

    /// Lends the bytes written so far.
    func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        var start: UnsafeMutablePointer<CChar>?
        let count = certs_BIO_get_mem_data(pointer, &start)
        return try body(UnsafeRawBufferPointer(start: start, count: max(0, count)))
    }

    var data: Data { withBytes { Data($0) } }
    var string: String { withBytes { String(decoding: $0, as: UTF8.self) } }

    /// Runs `body` with a read-only BIO over `bytes`, which are not copied.
    static func reading<Result>(
        _ bytes: UnsafeRawBufferPointer, _ body: (OpaquePointer) throws -> Result
    ) throws -> Result {
        // With no bytes OpenSSL 3.0 refuses a nil pointer, so an empty input gets a non-nil one.
        let source = bytes.baseAddress ?? UnsafeRawPointer(bitPattern: 1)
        guard let length = Int32(exactly: bytes.count), let bio = BIO_new_mem_buf(source, length) else {
            throw CertsError.openSSL(.openSSL, "cannot read a buffer of \(bytes.count) bytes")
        }
        defer { BIO_free_all(bio) }
        return try body(bio)
    }
}
