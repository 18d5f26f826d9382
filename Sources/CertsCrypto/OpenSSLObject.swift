internal import COpenSSL
import CertsCore
import Foundation

/// A C object with a single owner, freed with its scope.
struct OpenSSLObject: ~Copyable {
    let pointer: OpaquePointer
    private let release: (OpaquePointer?) -> Void

    /// Takes ownership of `pointer`.
    /// - Throws: `openssl` if the allocation or parse that made it returned nothing.
    init(
        _ pointer: OpaquePointer?, _ release: @escaping (OpaquePointer?) -> Void, _ what: String,
        code: CertsError.Code = .openSSL, hint: String? = nil
    ) throws(CertsError) {
        guard let pointer else { throw .openSSL(code, what, hint: hint) }
        self.pointer = pointer
        self.release = release
    }

    deinit { release(pointer) }
}

/// The DER of an object by its `i2d_` function, in one allocation of OpenSSL's.
func encodeDER(
    _ what: String, _ encode: (UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>) -> Int32
) throws(CertsError) -> Data {
    var bytes: UnsafeMutablePointer<UInt8>?
    let count = encode(&bytes)
    guard count > 0, let bytes else { throw .openSSL(.openSSL, "cannot encode \(what)") }
    defer { certs_OPENSSL_free(bytes) }
    return Data(bytes: bytes, count: Int(count))
}

/// The object that `parse` (a `d2i_` function) makes of exactly `der`; `nil` if it is not one, or has bytes after it.
func decodeDER(
    _ der: Data, release: (OpaquePointer?) -> Void,
    _ parse: (UnsafeMutablePointer<UnsafePointer<UInt8>?>, Int) -> OpaquePointer?
) -> OpaquePointer? {
    der.withUnsafeBytes { bytes in
        let start = bytes.bindMemory(to: UInt8.self).baseAddress
        var end = start
        guard start != nil, let result = parse(&end, bytes.count) else { return nil }
        guard let start, let end, end - start == bytes.count else {
            release(result)
            return nil
        }
        return result
    }
}

extension Certificate {
    /// An `X509` of its own in the default library context: the shared one may be held in a context that cannot decode
    /// keys or compute digests.
    func decoded() throws(CertsError) -> OpenSSLObject {
        OpenSSLErrors.clear()
        return try OpenSSLObject(
            decodeDER(der, release: X509_free) { d2i_X509(nil, $0, $1) }, X509_free, "this certificate cannot be read",
            code: .certificateMalformed)
    }
}

extension CertsError {
    /// Unless an OpenSSL call returned 1.
    static func check(_ result: Int32, _ what: @autoclosure () -> String) throws(CertsError) {
        guard result == 1 else { throw .openSSL(.openSSL, what()) }
    }
}
