internal import COpenSSL
package import CertsCore
import Foundation

extension PrivateKey {
    /// The largest file that is tried as a key: an RSA key of 16,384 bits has 13 KB.
    package static let maximumFileSize = 65536

    /// Reads the first private key of a PEM text: PKCS#1, SEC1, PKCS#8, encrypted PKCS#8, or the older `Proc-Type`
    /// encryption. Never prompts. Blocking: an encrypted key costs its key derivation.
    ///
    /// - Throws: `key.malformed`; `key.passphrase` when one is needed or the given one is wrong.
    package convenience init(pem: Secret, passphrase: Secret? = nil) throws(CertsError) {
        guard pem.count > 0, pem.count <= Self.maximumFileSize else {
            throw CertsError(
                .keyMalformed, pem.count == 0 ? "the key is empty" : "the key has \(pem.count) bytes, which no key has",
                hint: "give one private key in PEM")
        }
        OpenSSLErrors.clear()
        var request = PassphraseRequest(passphrase: passphrase)
        // The size was checked above, so the only way to fail to make a BIO is a lack of memory: then there is no key.
        let parsed: OpaquePointer?? = try? pem.withBytes { bytes in
            try MemoryBIO.reading(bytes) { bio in
                withUnsafeMutablePointer(to: &request) {
                    PEM_read_bio_PrivateKey(bio, nil, passphraseCallback, $0)
                }
            }
        }
        guard let parsed, let key = parsed else { throw request.failure() }
        try self.init(checking: key)
    }

    /// Takes ownership of a key from outside and makes sure that its two halves belong together.
    convenience init(checking key: OpaquePointer) throws(CertsError) {
        self.init(owning: key)
        guard algorithm != nil else { return }
        // A key file whose public half is of another key would pass every comparison with the certificate, and fail in
        // the first handshake. One signature shows it; OpenSSL's full check of an RSA key takes a hundred times longer.
        let message: [UInt8] = Array("certs".utf8)
        guard let signature = try? sign(message), verifies(signature, of: message) else {
            OpenSSLErrors.clear()
            throw CertsError(
                .keyMalformed, "the private and the public half of the \(algorithmName) key do not belong together",
                hint: "the file is damaged: restore it, or make a new key")
        }
    }

    /// PKCS#8, unencrypted, canonical PEM.
    package func pem() throws(CertsError) -> Secret {
        OpenSSLErrors.clear()
        let bio = try MemoryBIO(forSecrets: ())
        let written = withKey { key in
            PEM_write_bio_PKCS8PrivateKey(bio.pointer, key, nil, nil, 0, passphraseCallback, nil)
        }
        try CertsError.check(written, "cannot encode the key")
        return bio.withBytes { Secret(copying: $0) }
    }

    /// A signature over `message` with the digest that fits the key.
    func sign(_ message: [UInt8]) throws(CertsError) -> [UInt8] {
        OpenSSLErrors.clear()
        let context = try OpenSSLObject(EVP_MD_CTX_new(), EVP_MD_CTX_free, "cannot sign")
        return try withKey { (key) throws(CertsError) in
            try CertsError.check(EVP_DigestSignInit(context.pointer, nil, digest, nil, key), "cannot sign")
            var count = 0
            try CertsError.check(EVP_DigestSign(context.pointer, nil, &count, message, message.count), "cannot sign")
            var signature = [UInt8](repeating: 0, count: count)
            try CertsError.check(
                EVP_DigestSign(context.pointer, &signature, &count, message, message.count), "cannot sign")
            return Array(signature.prefix(count))
        }
    }

    private func verifies(_ signature: [UInt8], of message: [UInt8]) -> Bool {
        guard let context = EVP_MD_CTX_new() else { return false }
        defer { EVP_MD_CTX_free(context) }
        return withKey { key in
            EVP_DigestVerifyInit(context, nil, digest, nil, key) == 1
                && EVP_DigestVerify(context, signature, signature.count, message, message.count) == 1
        }
    }

    /// For keys that are none of ours SHA-256 is as good as any.
    var digest: OpaquePointer? {
        guard let algorithm else { return EVP_sha256() }
        return algorithm.digest
    }
}

/// What the passphrase callback is told, and what it tells back.
struct PassphraseRequest {
    let passphrase: Secret?
    var wasAsked = false
    var isTooLong = false

    init(passphrase: Secret?) { self.passphrase = passphrase }

    /// Why no key came out; drains the error queue.
    func failure() -> CertsError {
        let reasons = OpenSSLErrors.drain()
        if isTooLong {
            return CertsError(
                .keyPassphrase, "the passphrase is longer than OpenSSL takes (1024 bytes)",
                hint: "check the passphrase file")
        }
        if wasAsked, passphrase == nil {
            return CertsError(
                .keyPassphrase, "the key is encrypted and no passphrase was given",
                hint: "name a file with the passphrase, or decrypt the key with 'openssl pkey'")
        }
        if wasAsked {
            return CertsError(
                .keyPassphrase, "the passphrase does not open the key (\(reasons))", hint: "check the passphrase file")
        }
        return CertsError(
            .keyMalformed, "there is no private key in PEM that OpenSSL can read (\(reasons))",
            hint: "give a file with a line '-----BEGIN PRIVATE KEY-----'")
    }
}

/// Always given to OpenSSL: without a callback it would prompt on the terminal.
let passphraseCallback: @convention(c) (UnsafeMutablePointer<CChar>?, Int32, Int32, UnsafeMutableRawPointer?) -> Int32 =
    {
        buffer, size, _, context in
        guard let context else { return -1 }
        let request = context.assumingMemoryBound(to: PassphraseRequest.self)
        request.pointee.wasAsked = true
        guard let buffer, let passphrase = request.pointee.passphrase else { return -1 }
        guard passphrase.count <= Int(size) else {
            request.pointee.isTooLong = true
            return -1
        }
        passphrase.withBytes { bytes in
            if let start = bytes.baseAddress { memcpy(buffer, start, bytes.count) }
        }
        return Int32(passphrase.count)
    }
