/// A part of a text, compressed by itself, so that a member of any selection of parts can be put together from them.
///
/// It ends at a byte boundary and refers to nothing before its own beginning (RFC 1951 §3.2.4: an empty stored block).
package struct DeflatedPiece: Sendable {
    /// Raw deflate without a last block; empty for an empty part.
    package let bytes: [UInt8]
    /// CRC-32 of the part before compression.
    package let checksum: UInt32
    /// Of the part before compression, in bytes.
    package let length: Int

    package static let empty = DeflatedPiece(bytes: [], checksum: 0, length: 0)

    /// Compresses a part that is at hand as a whole.
    package init(_ text: String) throws {
        let writer = PieceWriter(length: text.utf8.count)
        var text = text
        try text.withUTF8 { try writer.append(UnsafeRawBufferPointer($0)) }
        self = try writer.finish()
    }

    init(bytes: [UInt8], checksum: UInt32, length: Int) {
        self.bytes = bytes
        self.checksum = checksum
        self.length = length
    }
}
