internal import COpenSSL
package import CertsCore
package import Foundation

/// PKCS#12 files (RFC 7292): a key with its certificates, as Windows and Java export them.
package enum PKCS12 {
    /// The largest file that is read.
    package static let maximumSize = 1 << 20
    /// The highest iteration count of all key derivations together; a hostile file could ask for hours.
    static let maximumIterations: Int64 = 10_000_000

    /// The first key and all certificates, the key's own certificate first. Blocking: costs the key derivation.
    ///
    /// The ciphers of old exports (RC2, 3DES) are read too, in a context of their own.
    /// - Throws: `key.passphrase` when one is needed or the given one is wrong; `certificate.malformed`; `key.malformed`.
    package static func read(
        _ bytes: Data, passphrase: Secret?
    ) throws(CertsError) -> (key: PrivateKey?, certificates: [Certificate]) {
        guard !bytes.isEmpty, bytes.count <= maximumSize else {
            throw CertsError(
                .certificateMalformed,
                bytes.isEmpty
                    ? "the PKCS#12 file is empty"
                    : "the PKCS#12 file has \(bytes.count) bytes; \(maximumSize) are allowed",
                hint: "give one PKCS#12 file")
        }
        OpenSSLErrors.clear()
        let context = try LegacyContext()
        var file = PKCS12_init_ex(NID_pkcs7_data, context.pointer, nil)
        let isWhole = bytes.withUnsafeBytes { raw in
            let start = raw.bindMemory(to: UInt8.self).baseAddress
            var end = start
            return d2i_PKCS12(&file, &end, raw.count) != nil && end == start.map { $0 + raw.count }
        }
        // d2i frees the object and clears the variable when it fails.
        defer { PKCS12_free(file) }
        guard isWhole, let file else {
            throw .openSSL(
                .certificateMalformed, "these bytes are not a PKCS#12 file", hint: "give a .p12 or .pfx file")
        }
        try checkCost(of: file, passphrase)
        return try open(file, passphrase)
    }

    /// Refuses a file that would take hours, before any of them is spent.
    private static func checkCost(of file: OpaquePointer, _ passphrase: Secret?) throws(CertsError) {
        func check(_ cost: DerivationCost) throws(CertsError) {
            guard cost.iterations > maximumIterations else { return }
            OpenSSLErrors.clear()
            throw CertsError(
                .certificateMalformed, "the PKCS#12 file asks for more than \(maximumIterations) iterations",
                hint: "export it again")
        }
        var cost = DerivationCost()
        if PKCS12_mac_present(file) == 1 {
            cost.add(Int64(certs_PKCS12_mac_iterations(file)))
            var algorithm: UnsafePointer<X509_ALGOR>?
            PKCS12_get0_mac(nil, &algorithm, nil, nil, file)
            cost.add(algorithm)
        }
        // What cannot be unpacked is told by who opens it.
        guard let parts = PKCS12_unpack_authsafes(file) else { return try check(cost) }
        defer { certs_sk_PKCS7_pop_free(parts) }
        cost.add(openPartsOf: parts)
        try check(cost)
        withPassphrase(passphrase) { cost.add(closedPartsOf: parts, passphrase: $0) }
        // `PKCS12_parse` takes no passphrase and an empty one for one another, and these are two keys.
        if (passphrase?.count ?? 0) == 0 {
            cost.add(closedPartsOf: parts, passphrase: nil)
            cost.add(closedPartsOf: parts, passphrase: "")
        }
        OpenSSLErrors.clear()
        try check(cost)
    }

    private static func open(
        _ file: OpaquePointer, _ passphrase: Secret?
    ) throws(CertsError) -> (key: PrivateKey?, certificates: [Certificate]) {
        var key: OpaquePointer?
        var own: OpaquePointer?
        var others: OpaquePointer?
        let parsed = withPassphrase(passphrase) { PKCS12_parse(file, $0, &key, &own, &others) }
        defer {
            EVP_PKEY_free(key)
            X509_free(own)
            certs_sk_X509_pop_free(others)
        }
        guard parsed == 1 else {
            if PKCS12_mac_present(file) == 1, !withPassphrase(passphrase, { isMAC(file, verifiedBy: $0) }) {
                OpenSSLErrors.clear()
                throw CertsError(
                    .keyPassphrase,
                    passphrase == nil
                        ? "the PKCS#12 file is encrypted and no passphrase was given"
                        : "the passphrase does not open the PKCS#12 file",
                    hint: passphrase == nil ? "name a file with the passphrase" : "check the passphrase file")
            }
            throw .openSSL(
                .certificateMalformed, "the PKCS#12 file cannot be opened",
                hint: "check the passphrase, or export the file again with AES-256")
        }
        var certificates: [Certificate] = []
        if let own { certificates.append(try certificate(own)) }
        if let others {
            for index in 0..<max(0, certs_sk_X509_num(others)) {
                guard certificates.count < 100, let other = certs_sk_X509_value(others, index) else { break }
                let next = try certificate(other)
                if !certificates.contains(next) { certificates.append(next) }
            }
        }
        return (try key.map(movedKey), certificates)
    }

    private static func certificate(_ x509: OpaquePointer) throws(CertsError) -> Certificate {
        try Certificate(der: try encodeDER("a certificate") { i2d_X509(x509, $0) })
    }

    /// The key again, in the default context: the legacy context ends with this call.
    private static func movedKey(_ key: OpaquePointer) throws(CertsError) -> PrivateKey {
        let info = try OpenSSLObject(
            EVP_PKEY2PKCS8(key), PKCS8_PRIV_KEY_INFO_free, "the key of the PKCS#12 file cannot be read",
            code: .keyMalformed)
        guard let moved = EVP_PKCS82PKEY(info.pointer) else {
            throw .openSSL(.keyMalformed, "the key of the PKCS#12 file cannot be read", hint: "export the file again")
        }
        return try PrivateKey(checking: moved)
    }

    private static func isMAC(_ file: OpaquePointer, verifiedBy passphrase: UnsafePointer<CChar>?) -> Bool {
        // "No password" and "an empty password" are different keys (RFC 7292 §B.1), and files of both kinds exist.
        if passphrase == nil, PKCS12_verify_mac(file, nil, 0) == 1 { return true }
        return PKCS12_verify_mac(file, passphrase ?? nil, passphrase == nil ? 0 : -1) == 1
    }

    /// Lends the passphrase as a C string, in memory that is cleansed afterwards.
    private static func withPassphrase<Result>(_ passphrase: Secret?, _ body: (UnsafePointer<CChar>?) -> Result)
        -> Result
    {
        guard let passphrase else { return body(nil) }
        let copy = Secret(capacity: passphrase.count + 1) { space in
            passphrase.withBytes { space.copyMemory(from: $0) }
            space[passphrase.count] = 0
            return passphrase.count + 1
        }
        return copy.withBytes { body($0.bindMemory(to: CChar.self).baseAddress) }
    }
}

/// A library context with the default and, if it is installed, the legacy provider.
///
/// Apart from the default context, so that RC2 and its kind are never available to anything else.
private struct LegacyContext: ~Copyable {
    let pointer: OpaquePointer
    private let providers: [OpaquePointer]

    init() throws(CertsError) {
        guard let context = OSSL_LIB_CTX_new() else { throw .openSSL(.openSSL, "no memory") }
        pointer = context
        providers = [OSSL_PROVIDER_load(context, "default"), OSSL_PROVIDER_load(context, "legacy")].compactMap { $0 }
        // Without the legacy provider newer files still open.
        OpenSSLErrors.clear()
    }

    deinit {
        for provider in providers { OSSL_PROVIDER_unload(provider) }
        OSSL_LIB_CTX_free(pointer)
    }
}
