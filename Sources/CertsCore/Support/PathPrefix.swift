extension String {
    /// The part of a path below a directory, without the slash; `nil`: it is not below it. Both are absolute and plain.
    ///
    /// Compared byte by byte, as the kernel does: a file name may begin with a combining character, which a comparison of
    /// characters would take for a part of the slash before it.
    package func path(below directory: String) -> String? {
        let prefix = directory.hasSuffix("/") ? directory : directory + "/"
        guard utf8.starts(with: prefix.utf8) else { return nil }
        return String(decoding: utf8.dropFirst(prefix.utf8.count), as: UTF8.self)
    }
}

/// A path as a key: two that differ in one byte are two files, also where the characters are the same (a letter and its accent
/// may be one code point or two), which for `String` are equal.
package struct PathKey: Sendable, Hashable, ExpressibleByStringLiteral {
    package let path: String

    package init(_ path: String) { self.path = path }
    package init(stringLiteral path: String) { self.path = path }

    package static func == (left: Self, right: Self) -> Bool { left.path.utf8.elementsEqual(right.path.utf8) }

    package func hash(into hasher: inout Hasher) {
        var path = path
        path.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        // Ends the bytes: no UTF-8 has it.
        hasher.combine(UInt8(0xff))
    }
}
