import CZlib
package import CertsCore

/// Compresses one part as it is written, in little memory: what is written is not kept.
///
/// One writer at a time: not `Sendable`.
package final class PieceWriter {
    /// Of all levels the one that makes most of the text around the digests small; higher ones save a hundredth of the rest.
    private static let level: Int32 = 4
    private static let chunk = 1 << 15
    /// zlib has 8 as well, but not for raw deflate.
    private static let smallest: Int32 = 9

    private let stream: UnsafeMutablePointer<z_stream>
    /// The window is 2^bits bytes.
    private let bits: Int32
    private var isOpen = false
    private var output: [UInt8] = []
    private var checksum: UInt = 0
    private var length = 0

    /// - Parameter length: of the whole part, in bytes, where that is known: a small one needs little memory.
    package init(length: Int = .max) {
        // No match goes further back than the window less 262 bytes (MIN_LOOKAHEAD in zlib's deflate.h).
        bits = (Self.smallest..<MAX_WBITS).first { (1 << $0) - 262 >= length } ?? MAX_WBITS
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
    }

    deinit {
        if isOpen { deflateEnd(stream) }
        stream.deallocate()
    }

    /// - Throws: `internal`, when there is no memory for the compressor.
    package func append(_ bytes: UnsafeRawBufferPointer) throws(CertsError) {
        guard let start = bytes.bindMemory(to: UInt8.self).baseAddress, !bytes.isEmpty else { return }
        if !isOpen {
            guard certs_deflateInit(stream, Self.level, bits, MAX_MEM_LEVEL - (MAX_WBITS - bits)) == Z_OK else {
                throw CertsError(.internal, "no memory to compress with")
            }
            isOpen = true
        }
        checksum = crc32_z(checksum, start, bytes.count)
        length += bytes.count
        stream.pointee.next_in = UnsafeMutablePointer(mutating: start)
        stream.pointee.avail_in = UInt32(clamping: bytes.count)
        run(Z_NO_FLUSH)
    }

    /// Ends the part; the writer is used up.
    package func finish() throws(CertsError) -> DeflatedPiece {
        guard isOpen else { return .empty }
        stream.pointee.avail_in = 0
        run(Z_SYNC_FLUSH)
        deflateEnd(stream)
        isOpen = false
        return DeflatedPiece(bytes: output, checksum: UInt32(truncatingIfNeeded: checksum), length: length)
    }

    /// Takes everything that the compressor gives for what it was given.
    private func run(_ flush: Int32) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Self.chunk) { space in
            repeat {
                stream.pointee.next_out = space.baseAddress
                stream.pointee.avail_out = UInt32(space.count)
                deflate(stream, flush)
                output.append(contentsOf: space[..<(space.count - Int(stream.pointee.avail_out))])
                // A full buffer means that there may be more (zlib.h).
            } while stream.pointee.avail_out == 0
        }
        stream.pointee.next_in = nil
        stream.pointee.next_out = nil
    }
}
