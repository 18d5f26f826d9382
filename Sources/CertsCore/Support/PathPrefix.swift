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
