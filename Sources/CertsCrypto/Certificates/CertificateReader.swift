package import CertsCore
package import Foundation

/// Reads certificates from files of either form, told apart by their content: PEM (one or many blocks, with text
/// between) or the DER of one certificate.
package enum CertificateReader {
    /// More bytes than this are refused unread.
    package static let sizeLimit = 8 << 20
    /// More blocks than this, of whatever label, are refused; a trust store may have more.
    package static let blockLimit = 100

    /// All certificates, in the order of the file. Blocks with other labels (private keys, parameters) are skipped.
    ///
    /// - Parameter limit: how many blocks there may be; a system's trust store has more than ``blockLimit``.
    /// - Throws: `certificate.missing` if there is none, `certificate.malformed` with the number of the block,
    ///   `file.tooLarge`.
    package static func certificates(in bytes: Data, limit: Int = blockLimit) throws(CertsError) -> [Certificate] {
        var result: [Certificate] = []
        try forEach(in: bytes, limit: limit) { (der, block) throws(CertsError) in
            do throws(CertsError) {
                result.append(try Certificate(der: Data(der)))
            } catch {
                throw located(error, block: block)
            }
            return true
        }
        return result
    }

    /// The records of all certificates, in the order of the file, without decoding a public key.
    package static func records(in bytes: Data, limit: Int = blockLimit) throws(CertsError) -> [CertificateRecord] {
        var result: [CertificateRecord] = []
        try forEach(in: bytes, limit: limit) { (der, block) throws(CertsError) in
            do throws(CertsError) {
                result.append(try record(der: der))
            } catch {
                throw located(error, block: block)
            }
            return true
        }
        return result
    }

    /// The record of the first certificate; what follows it is not looked at.
    package static func firstRecord(in bytes: Data) throws(CertsError) -> CertificateRecord {
        var result: CertificateRecord?
        try forEach(in: bytes, limit: blockLimit) { (der, block) throws(CertsError) in
            do throws(CertsError) {
                result = try record(der: der)
            } catch {
                throw located(error, block: block)
            }
            return false
        }
        guard let result else { throw missing }
        return result
    }

    /// The record of one DER certificate; ten times as fast as ``Certificate/init(der:)``, because the public key is not
    /// decoded.
    package static func record(der: Data) throws(CertsError) -> CertificateRecord {
        try withBytes(of: der) { (bytes) throws(CertsError) in try record(der: bytes) }
    }

    /// See ``record(der:)-(Data)``; the bytes are borrowed for the call.
    package static func record(der: UnsafeRawBufferPointer) throws(CertsError) -> CertificateRecord {
        guard der.count <= sizeLimit else {
            throw CertsError(
                .certificateMalformed, "\(der.count) bytes are too many for one certificate",
                hint: "give one certificate")
        }
        return try RecordDecoder(der, keepsPublicKey: false).record
    }

    // MARK: -

    /// Calls `body` with the DER of each certificate and the number of its block (0 for a DER file) until it says stop.
    private static func forEach(
        in bytes: Data, limit: Int, _ body: (UnsafeRawBufferPointer, Int) throws(CertsError) -> Bool
    ) throws(CertsError) {
        guard bytes.count <= sizeLimit else {
            throw CertsError(
                .fileTooLarge, "\(bytes.count) bytes are too many for certificates (limit \(sizeLimit))",
                hint: "give a file that holds only the certificates")
        }
        try withBytes(of: bytes) { (raw) throws(CertsError) in
            var scanner = PEMScanner(raw)
            var found = 0
            // A DER certificate is a SEQUENCE whose length takes two octets or more; no text begins like that.
            if raw.count > 2, raw[0] == 0x30, raw[1] & 0x80 != 0 {
                _ = try body(raw, 0)
                return
            }
            while let block = scanner.next() {
                guard block.number <= limit else {
                    throw CertsError(
                        .fileTooLarge, "more than \(limit) PEM blocks in one file",
                        hint: "split the file, or remove what is not needed")
                }
                guard block.isCertificate else { continue }
                found += 1
                guard try decode(block, body) else { return }
            }
            if found == 0 { throw missing }
        }
    }

    private static func decode(
        _ block: PEMScanner.Block, _ body: (UnsafeRawBufferPointer, Int) throws(CertsError) -> Bool
    ) throws(CertsError) -> Bool {
        guard let text = block.body else {
            throw CertsError(
                .certificateMalformed, "PEM block \(block.number) has no matching end line",
                hint: "the file may be cut off; copy it again, from -----BEGIN to -----END")
        }
        var outcome: Result<Bool, CertsError>?
        let decoded: Void? = Base64.withDecoded(text) { der in
            do throws(CertsError) {
                outcome = .success(try body(der, block.number))
            } catch {
                outcome = .failure(error)
            }
        }
        guard decoded != nil, let outcome else {
            throw CertsError(
                .certificateMalformed, "PEM block \(block.number) is not base64",
                hint: "copy the certificate again, without headers or line numbers between its lines")
        }
        return try outcome.get()
    }

    private static func withBytes<Value>(
        of data: Data, _ body: (UnsafeRawBufferPointer) throws(CertsError) -> Value
    ) throws(CertsError) -> Value {
        let result: Result<Value, CertsError> = data.withUnsafeBytes { bytes in
            do throws(CertsError) {
                return .success(try body(bytes))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private static var missing: CertsError {
        CertsError(
            .certificateMissing, "there is no certificate in this input",
            hint: "give a file with a -----BEGIN CERTIFICATE----- block, or the DER of one certificate")
    }

    private static func located(_ error: CertsError, block: Int) -> CertsError {
        guard block > 0 else { return error }
        return CertsError(error.code, "PEM block \(block): \(error.message)", hint: error.hint, retry: error.retry)
    }
}
