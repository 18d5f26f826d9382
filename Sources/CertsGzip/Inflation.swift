import CZlib
package import CertsCore

/// Gives back the text of a part, a bounded chunk at a time.
package struct Inflation: ~Copyable {
    private static let chunk = 1 << 16

    private let piece: DeflatedPiece
    private let stream: UnsafeMutablePointer<z_stream>
    private var given = 0
    private var taken = 0

    /// - Throws: `internal`, when there is no memory.
    package init(_ piece: DeflatedPiece) throws(CertsError) {
        let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        stream.initialize(to: z_stream())
        guard certs_inflateInit(stream) == Z_OK else {
            stream.deallocate()
            throw CertsError(.internal, "no memory to decompress with")
        }
        self.piece = piece
        self.stream = stream
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    /// The next up to 64 KiB; `nil` at the end.
    package mutating func next() throws(CertsError) -> [UInt8]? {
        guard given < piece.length else { return nil }
        let stream = stream
        let offset = taken
        var used = 0
        let text = piece.bytes.withUnsafeBufferPointer { input in
            [UInt8](unsafeUninitializedCapacity: min(Self.chunk, piece.length - given)) { space, count in
                stream.pointee.next_in = input.baseAddress.map { UnsafeMutablePointer(mutating: $0 + offset) }
                stream.pointee.avail_in = UInt32(clamping: input.count - offset)
                stream.pointee.next_out = space.baseAddress
                stream.pointee.avail_out = UInt32(space.count)
                inflate(stream, Z_SYNC_FLUSH)
                used = input.count - offset - Int(stream.pointee.avail_in)
                count = space.count - Int(stream.pointee.avail_out)
            }
        }
        guard !text.isEmpty else { throw CertsError(.internal, "a compressed part is damaged") }
        taken += used
        given += text.count
        return text
    }
}

extension GzipMember {
    /// The whole text, for what needs it in one piece.
    package func text() throws(CertsError) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(length)
        for piece in pieces {
            var inflation = try Inflation(piece)
            while let chunk = try inflation.next() { text += chunk }
        }
        return text
    }
}
