package import Foundation

/// PEM (RFC 7468): written strictly (64 columns, LF, nothing else), read leniently (text between blocks, CRLF, a byte
/// order mark, any line length).
package enum PEM {
    /// One block with its boundary lines and a final newline.
    package static func block(_ label: String, _ der: Data) -> String {
        let body = der.base64EncodedString(options: [.lineLength64Characters, .endLineWithLineFeed])
        return "-----BEGIN \(label)-----\n\(body)\n-----END \(label)-----\n"
    }
}

/// A forward scan over the blocks of a PEM text, which copies nothing.
struct PEMScanner {
    /// One block between its boundary lines.
    struct Block {
        /// Counted from 1, over blocks of every label.
        let number: Int
        let label: UnsafeBufferPointer<UInt8>
        /// `nil` where the end line is missing or belongs to another label.
        let body: UnsafeBufferPointer<UInt8>?

        var isCertificate: Bool {
            isLabel("CERTIFICATE") || isLabel("X509 CERTIFICATE")
        }
        var isRevocationList: Bool { isLabel("X509 CRL") }

        private func isLabel(_ text: StaticString) -> Bool {
            ASN1.areEqual(label, UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
        }
    }

    private let text: UnsafeBufferPointer<UInt8>
    private var position = 0
    private(set) var count = 0

    init(_ bytes: UnsafeRawBufferPointer) { text = bytes.bindMemory(to: UInt8.self) }

    mutating func next() -> Block? {
        while let begin = find("-----BEGIN ", from: position) {
            let labelStart = begin + 11
            position = labelStart
            guard isAtLineStart(begin), let label = boundary(from: labelStart) else { continue }
            count += 1
            let bodyStart = label.end
            position = bodyStart
            guard let end = find("-----END ", from: bodyStart), isAtLineStart(end),
                let endLabel = boundary(from: end + 9), ASN1.areEqual(endLabel.text, label.text)
            else { return Block(number: count, label: label.text, body: nil) }
            position = endLabel.end
            return Block(number: count, label: label.text, body: UnsafeBufferPointer(rebasing: text[bodyStart..<end]))
        }
        return nil
    }

    private func find(_ needle: StaticString, from start: Int) -> Int? {
        guard let base = text.baseAddress else { return nil }
        let length = needle.utf8CodeUnitCount
        var from = start
        while from + length <= text.count {
            guard let hit = memchr(base + from, Int32(UInt8(ascii: "-")), text.count - from) else { return nil }
            let at = UnsafePointer(hit.assumingMemoryBound(to: UInt8.self)) - base
            guard at + length <= text.count else { return nil }
            if memcmp(base + at, needle.utf8Start, length) == 0 { return at }
            from = at + 1
        }
        return nil
    }

    /// The label up to its five dashes, which must be on the same line.
    private func boundary(from start: Int) -> (text: UnsafeBufferPointer<UInt8>, end: Int)? {
        var index = start
        while index < text.count, index - start <= 64, text[index] != UInt8(ascii: "-"),
            text[index] != UInt8(ascii: "\n")
        {
            index += 1
        }
        guard index + 5 <= text.count, text[index..<(index + 5)].allSatisfy({ $0 == UInt8(ascii: "-") }) else {
            return nil
        }
        return (UnsafeBufferPointer(rebasing: text[start..<index]), index + 5)
    }

    /// Whether only blanks or a byte order mark stand before `index` on its line: `# -----BEGIN …` is a comment.
    private func isAtLineStart(_ index: Int) -> Bool {
        var before = index - 1
        while before >= 0 {
            switch text[before] {
            case UInt8(ascii: "\n"), UInt8(ascii: "\r"): return true
            case UInt8(ascii: " "), UInt8(ascii: "\t"), 0xef, 0xbb, 0xbf: before -= 1
            default: return false
            }
        }
        return true
    }
}

/// Base64 of PEM bodies (RFC 4648 §4).
enum Base64 {
    private static let values: [UInt8] = {
        var table = [UInt8](repeating: 0xff, count: 256)
        for (value, character) in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8.enumerated() {
            table[Int(character)] = UInt8(value)
        }
        return table
    }()

    /// Decodes `text`, in which blanks and line ends may stand anywhere, and lends the result; `nil` if it is not
    /// base64. Own code because Foundation's and OpenSSL's decoders take longer than parsing the certificate.
    static func withDecoded<Result>(
        _ text: UnsafeBufferPointer<UInt8>, _ body: (UnsafeRawBufferPointer) -> Result
    ) -> Result? {
        let capacity = text.count / 4 * 3 + 3
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: capacity) { output in
            guard let count = decode(text, into: output) else { return nil }
            return body(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(output)[..<count]))
        }
    }

    private static func decode(_ text: UnsafeBufferPointer<UInt8>, into output: UnsafeMutableBufferPointer<UInt8>)
        -> Int?
    {
        values.withUnsafeBufferPointer { table in
            var (input, written) = (0, 0)
            var (pending, bits): (UInt32, Int) = (0, 0)
            var padding = 0
            while input < text.count {
                if bits == 0, padding == 0 {
                    // Whole groups of four; a line end falls out of this loop.
                    while input + 4 <= text.count {
                        let (a, b) = (table[Int(text[input])], table[Int(text[input + 1])])
                        let (c, d) = (table[Int(text[input + 2])], table[Int(text[input + 3])])
                        guard (a | b | c | d) & 0x80 == 0 else { break }
                        let group = UInt32(a) << 18 | UInt32(b) << 12 | UInt32(c) << 6 | UInt32(d)
                        output[written] = UInt8(truncatingIfNeeded: group >> 16)
                        output[written + 1] = UInt8(truncatingIfNeeded: group >> 8)
                        output[written + 2] = UInt8(truncatingIfNeeded: group)
                        written += 3
                        input += 4
                    }
                    guard input < text.count else { break }
                }
                let character = text[input]
                input += 1
                switch character {
                case UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: " "), UInt8(ascii: "\t"): continue
                case UInt8(ascii: "="): padding += 1
                default:
                    let value = table[Int(character)]
                    guard value & 0x80 == 0, padding == 0 else { return nil }
                    pending = (pending << 6 | UInt32(value)) & 0xff_ffff
                    bits += 6
                    if bits == 24 {
                        output[written] = UInt8(truncatingIfNeeded: pending >> 16)
                        output[written + 1] = UInt8(truncatingIfNeeded: pending >> 8)
                        output[written + 2] = UInt8(truncatingIfNeeded: pending)
                        written += 3
                        (pending, bits) = (0, 0)
                    }
                }
            }
            return finish(pending, bits, padding, output, written)
        }
    }

    /// The last one or two octets, and whether the padding fits them.
    private static func finish(
        _ pending: UInt32, _ bits: Int, _ padding: Int, _ output: UnsafeMutableBufferPointer<UInt8>, _ written: Int
    ) -> Int? {
        switch (bits, padding) {
        case (0, 0): return written
        case (12, 2):
            output[written] = UInt8(truncatingIfNeeded: pending >> 4)
            return written + 1
        case (18, 1):
            output[written] = UInt8(truncatingIfNeeded: pending >> 10)
            output[written + 1] = UInt8(truncatingIfNeeded: pending >> 2)
            return written + 2
        default: return nil
        }
    }
}
