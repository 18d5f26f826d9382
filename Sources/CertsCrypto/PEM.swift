package import Foundation

/// PEM as we write it (RFC 7468 §2, strict): 64 columns, LF, nothing else.
package enum PEM {
    /// One block with its boundary lines and a final newline.
    package static func block(_ label: String, _ der: Data) -> String {
        let body = der.base64EncodedString(options: [.lineLength64Characters, .endLineWithLineFeed])
        return "-----BEGIN \(label)-----\n\(body)\n-----END \(label)-----\n"
    }
}
