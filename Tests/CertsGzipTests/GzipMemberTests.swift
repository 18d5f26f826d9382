import CertsCore
import CertsGzip
import CertsTesting
import Foundation
import Testing

/// What another program (Python's gzip) makes of the bytes.
private func unpacked(_ member: GzipMember) async throws -> Data {
    let place = try TemporaryDirectory()
    let bytes = [GzipMember.head] + member.pieces.map(\.bytes) + [member.tail]
    let packed = try place.write(Data(bytes.joined()), to: "member.gz")
    let script = "import gzip,sys; sys.stdout.buffer.write(gzip.open(sys.argv[1]).read())"
    let outcome = try await BlockingPool.shared.run { try Tool.run("python3", "-c", script, packed) }
    #expect(outcome.status == 0)
    return Data(outcome.output.utf8)
}

@Suite struct GzipMemberTests {
    static let parts = ["", "a", String(repeating: "line of text ü\n", count: 20_000), "{\"x\": 1}\n", ""]

    @Test func anySelectionOfPiecesIsOneMember() async throws {
        let pieces = try Self.parts.map { try DeflatedPiece($0) }
        for selection in [[], [0], [1, 2], [2, 1, 2], [0, 1, 2, 3, 4]] {
            let member = GzipMember(selection.map { pieces[$0] })
            let text = selection.map { Self.parts[$0] }.joined()
            #expect(member.length == text.utf8.count)
            let isSame = try member.text() == Array(text.utf8)
            #expect(isSame)
            let isUnpacked = try await unpacked(member) == Data(text.utf8)
            #expect(isUnpacked)
            let length = GzipMember.head.count + member.pieces.reduce(0) { $0 + $1.bytes.count } + member.tail.count
            #expect(member.compressedLength == length)
        }
    }

    /// Of one that is known to be small the compressor uses less memory, and finds the same.
    @Test func aPieceOfAnyLengthIsSmallAndWhole() throws {
        for length in [1, 249, 250, 251, 761, 762, 763, 5000, 40_000] {
            let text = String((0..<length).map { Character(Unicode.Scalar(UInt8(32 + $0 * $0 % 89))) })
            let twice = try DeflatedPiece(text + text)
            let isSame = try GzipMember([twice]).text() == Array((text + text).utf8)
            #expect(isSame)
            let writer = PieceWriter()
            try Array((text + text).utf8).withUnsafeBytes { try writer.append($0) }
            #expect(try writer.finish().bytes.count == twice.bytes.count)
        }
    }

    @Test func aPieceWrittenInPartsIsTheSame() throws {
        let writer = PieceWriter()
        for part in Self.parts {
            try Array(part.utf8).withUnsafeBytes { bytes in
                for start in stride(from: 0, to: bytes.count, by: 1000) {
                    try writer.append(UnsafeRawBufferPointer(rebasing: bytes[start..<min(start + 1000, bytes.count)]))
                }
            }
        }
        let piece = try writer.finish()
        #expect(try GzipMember([piece]).text() == Array(Self.parts.joined().utf8))
        #expect(piece.bytes.count < piece.length / 20)
    }
}
