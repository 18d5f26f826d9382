import CZlib

/// One gzip member (RFC 1952) made of parts that were compressed before: nothing is compressed again.
package struct GzipMember: Sendable {
    package let pieces: [DeflatedPiece]

    package init(_ pieces: [DeflatedPiece]) { self.pieces = pieces }

    /// Deflate, no name, no time, unknown system.
    package static let head: [UInt8] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]

    /// An empty last block, the CRC-32 and the length of the whole, modulo 2³² (RFC 1952 §2.3.1).
    package var tail: [UInt8] {
        var checksum: UInt = 0
        for piece in pieces { checksum = crc32_combine(checksum, UInt(piece.checksum), piece.length) }
        let length = UInt32(truncatingIfNeeded: length)
        var bytes: [UInt8] = [0x03, 0x00]
        for word in [UInt32(truncatingIfNeeded: checksum), length] {
            withUnsafeBytes(of: word.littleEndian) { bytes.append(contentsOf: $0) }
        }
        return bytes
    }

    /// Of the compressed form, in bytes.
    package var compressedLength: Int { Self.head.count + pieces.reduce(0) { $0 + $1.bytes.count } + 10 }

    /// Of the text, in bytes.
    package var length: Int { pieces.reduce(0) { $0 + $1.length } }
}
