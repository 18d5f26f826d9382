/// Why a watched input gives no certificate, or not all that it should: the fixed list of the label `reason`.
package enum WatchReason: String, Sendable, Hashable, Codable, CaseIterable {
    /// A PEM block without its end line, or whose text is not base64.
    case badPEM = "bad_pem"
    /// Nothing in the file is a certificate.
    case noCertificate = "no_certificate"
    /// The bytes of a certificate or of a PKCS#12 file cannot be decoded.
    case malformed
    /// The passphrase does not open the PKCS#12 file.
    case badPassphrase = "bad_passphrase"
    /// The PKCS#12 file is encrypted, and no passphrase is configured or its file cannot be read.
    case noPassphrase = "no_passphrase"
    case permissionDenied = "permission_denied"
    /// The directory, or a file that was there a moment ago.
    case notFound = "not_found"
    /// A symbolic link that leads nowhere or in a circle.
    case danglingLink = "dangling_link"
    /// A FIFO, a socket, a device, or a directory with the name of a file.
    case notRegular = "not_regular"
    /// More bytes than a certificate has, or more blocks.
    case tooLarge = "too_large"
    /// A file name that is not UTF-8 or has control characters in it.
    case badName = "bad_name"
    /// More entries, or deeper directories, than a scan looks at.
    case tooMany = "too_many"
    /// Any other refusal of the kernel.
    case readFailed = "read_failed"
    /// An endpoint that could not be connected to.
    case unreachable
    case timeout
    /// An endpoint that answered, but with no TLS handshake.
    case handshakeFailed = "handshake_failed"

    /// Those of endpoints; the others are those of files.
    package static let ofEndpoints: [WatchReason] = [.unreachable, .timeout, .handshakeFailed, .malformed]
    package static let ofFiles = allCases.filter { ![.unreachable, .timeout, .handshakeFailed].contains($0) }
}

/// A watched input that could not be read, as the walk of a directory reports it.
package struct WatchFailure: Error, Sendable, Hashable {
    package let reason: WatchReason
    /// A sentence with the next step.
    package let message: String

    package init(_ reason: WatchReason, _ message: String) {
        self.reason = reason
        self.message = message
    }
}
