import Foundation

/// Bytes that must not leak: redacted in every description, cleansed when released.
///
/// Shared and immutable; `withBytes` lends the bytes for the time of the call only.
package final class Secret: @unchecked Sendable, CustomStringConvertible, CustomReflectable {
    // @unchecked: the buffer is written in `init` only and freed in `deinit` only.
    private let buffer: UnsafeMutableRawBufferPointer

    package init(copying bytes: some Collection<UInt8>) {
        buffer = .allocate(byteCount: bytes.count, alignment: 1)
        buffer.copyBytes(from: bytes)
    }

    /// Lets `fill` write up to `capacity` bytes in place, so that no unprotected copy exists; keeps as many as it returns.
    package init(capacity: Int, fill: (UnsafeMutableRawBufferPointer) throws -> Int) rethrows {
        let space = UnsafeMutableRawBufferPointer.allocate(byteCount: max(0, capacity), alignment: 1)
        do {
            let used = try fill(space)
            buffer = .allocate(byteCount: max(0, min(used, space.count)), alignment: 1)
            buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: space[..<buffer.count]))
            Self.cleanse(space)
        } catch {
            Self.cleanse(space)
            throw error
        }
    }

    deinit { Self.cleanse(buffer) }

    package var count: Int { buffer.count }

    /// Lends the bytes; the pointer is not valid after the call.
    package func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        try body(UnsafeRawBufferPointer(buffer))
    }

    package var description: String { "***" }
    package var customMirror: Mirror { Mirror(self, children: []) }

    private static func cleanse(_ buffer: UnsafeMutableRawBufferPointer) {
        // `explicit_bzero` is not removed by the optimiser although the memory is not read again.
        if let base = buffer.baseAddress { explicit_bzero(base, buffer.count) }
        buffer.deallocate()
    }
}

extension Secret: Equatable {
    /// Takes the same time wherever the first difference is.
    package static func == (left: Secret, right: Secret) -> Bool {
        guard left.count == right.count else { return false }
        return left.withBytes { a in
            right.withBytes { b in zip(a, b).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0 }
        }
    }
}
