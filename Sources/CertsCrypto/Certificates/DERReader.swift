/// A forward walk over the elements of a DER encoding (X.690 §10), which copies nothing and never reads past its end.
///
/// It knows only what certificates are made of: one-byte tags and definite, minimal lengths under 16 MiB. Everything
/// else ends the walk with `nil`, and OpenSSL decides.
struct DERReader {
    /// One element: its content, and all of it.
    struct Element {
        let tag: UInt8
        let content: UnsafeRawBufferPointer
        let whole: UnsafeRawBufferPointer
    }

    enum Tag {
        static let boolean: UInt8 = 0x01
        static let integer: UInt8 = 0x02
        static let bitString: UInt8 = 0x03
        static let octetString: UInt8 = 0x04
        static let null: UInt8 = 0x05
        static let object: UInt8 = 0x06
        static let sequence: UInt8 = 0x30
        static let set: UInt8 = 0x31
    }

    private let bytes: UnsafeRawBufferPointer
    private var position = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    var isAtEnd: Bool { position == bytes.count }
    /// The tag of the next element; `nil` at the end.
    var nextTag: UInt8? { position < bytes.count ? bytes[position] : nil }

    mutating func next() -> Element? {
        let start = position
        guard bytes.count - start >= 2 else { return nil }
        let tag = bytes[start]
        // 0x1f in the low bits announces a tag of several bytes.
        guard tag & 0x1f != 0x1f else { return nil }
        var length = Int(bytes[start + 1])
        var body = start + 2
        if length >= 0x80 {
            let octets = length & 0x7f
            guard (1...3).contains(octets), bytes.count - body >= octets else { return nil }
            length = 0
            for _ in 0..<octets {
                length = length << 8 | Int(bytes[body])
                body += 1
            }
            guard length >= 0x80, length >= 1 << (8 * (octets - 1)) else { return nil }
        }
        guard bytes.count - body >= length else { return nil }
        position = body + length
        return Element(
            tag: tag, content: UnsafeRawBufferPointer(rebasing: bytes[body..<position]),
            whole: UnsafeRawBufferPointer(rebasing: bytes[start..<position]))
    }

    /// The next element, if it has this tag.
    mutating func next(_ tag: UInt8) -> Element? {
        guard nextTag == tag else { return nil }
        return next()
    }

    /// The content of an element that is all of `bytes`.
    static func only(_ tag: UInt8, in bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        var reader = DERReader(bytes)
        guard let element = reader.next(tag), reader.isAtEnd else { return nil }
        return element.content
    }
}

extension DERReader.Element {
    /// An object identifier whose numbers are encoded as X.690 §8.19 wants them.
    var isObject: Bool {
        guard tag == DERReader.Tag.object, let last = content.last, last < 0x80 else { return false }
        var startsNumber = true
        for byte in content {
            if startsNumber, byte == 0x80 { return false }
            startsNumber = byte < 0x80
        }
        return true
    }

    /// The magnitude of a positive INTEGER in its shortest form.
    var positiveInteger: UnsafeRawBufferPointer? {
        guard tag == DERReader.Tag.integer, let first = content.first, first < 0x80 else { return nil }
        guard first == 0 else { return content }
        guard content.count > 1, content[1] >= 0x80 else { return nil }
        return UnsafeRawBufferPointer(rebasing: content[1...])
    }

    /// The bytes of a BIT STRING without unused bits.
    var wholeBits: UnsafeRawBufferPointer? {
        guard tag == DERReader.Tag.bitString, content.first == 0 else { return nil }
        return UnsafeRawBufferPointer(rebasing: content[1...])
    }
}
