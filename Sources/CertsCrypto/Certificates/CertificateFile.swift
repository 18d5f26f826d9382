package import CertsCore
package import Foundation

/// What a watched file says, in whatever form it is: PEM, the DER of one certificate, or PKCS#12, told apart by content.
package enum CertificateFile {
    /// More blocks than this are a store, and no chain.
    static let blockLimit = 1000
    /// More certificates than this are a collection: whether they issued one another says nothing.
    static let chainLimit = 16

    /// Never throws: what is wrong is part of the facts, and the leaf is in them as well where it can be read.
    ///
    /// The first certificate is the leaf. Blocks for the key derivation of a PKCS#12 file.
    package static func facts(in bytes: Data, passphrase: Secret?) -> WatchedFacts {
        if isPKCS12(bytes) { return facts(inPKCS12: bytes, passphrase) }
        do {
            return facts(of: try CertificateReader.records(in: bytes, limit: blockLimit))
        } catch {
            // A chain that breaks off behind the leaf: the leaf's dates are known nevertheless.
            let leaf = try? CertificateReader.firstRecord(in: bytes)
            return WatchedFacts(record: leaf, problem: reason(error, bytes))
        }
    }

    /// The facts of a chain, leaf first.
    package static func facts(of chain: [CertificateRecord]) -> WatchedFacts {
        guard let leaf = chain.first else { return WatchedFacts(problem: .noCertificate) }
        return WatchedFacts(
            record: leaf, chainNotAfter: chain.map(\.notAfter).min(),
            isChainValid: chain.count <= chainLimit ? isLinked(chain) : nil)
    }

    /// Whether each certificate names the next one as its issuer (RFC 5280 §6.1, without signatures).
    package static func isLinked(_ chain: [CertificateRecord]) -> Bool {
        zip(chain, chain.dropFirst()).allSatisfy { subject, issuer in
            guard subject.issuer == issuer.subject else { return false }
            guard let wanted = subject.authorityKeyID, let known = issuer.subjectKeyID else { return true }
            return wanted == known
        }
    }

    private static func facts(inPKCS12 bytes: Data, _ passphrase: Secret?) -> WatchedFacts {
        do {
            return facts(of: try PKCS12.read(bytes, passphrase: passphrase).certificates.map(\.record))
        } catch {
            switch error.code {
            case .keyPassphrase: return WatchedFacts(problem: passphrase == nil ? .noPassphrase : .badPassphrase)
            default: return WatchedFacts(problem: .malformed)
            }
        }
    }

    /// A SEQUENCE that begins with the version 3 (RFC 7292 §4); a certificate begins with another SEQUENCE.
    package static func isPKCS12(_ bytes: Data) -> Bool {
        let head = [UInt8](bytes.prefix(10))
        guard head.count == 10, head[0] == 0x30 else { return false }
        let content = head[1] & 0x80 == 0 ? 2 : 2 + Int(head[1] & 0x7f)
        return content + 3 <= head.count && Array(head[content..<content + 3]) == [0x02, 0x01, 0x03]
    }

    private static func reason(_ error: CertsError, _ bytes: Data) -> WatchReason {
        switch error.code {
        case .certificateMissing: .noCertificate
        case .fileTooLarge: .tooLarge
        default: CertificateReader.isWellFormed(bytes) ? .malformed : .badPEM
        }
    }
}

extension CertificateReader {
    /// Whether the frame of each certificate is whole, whatever is in it: DER, or PEM with ends and base64.
    static func isWellFormed(_ bytes: Data) -> Bool {
        bytes.withUnsafeBytes { raw in
            if raw.count > 2, raw[0] == 0x30, raw[1] & 0x80 != 0 { return true }
            var scanner = PEMScanner(raw)
            while let block = scanner.next() {
                guard block.isCertificate else { continue }
                guard let body = block.body, Base64.withDecoded(body, { !$0.isEmpty }) == true else { return false }
            }
            return true
        }
    }
}
