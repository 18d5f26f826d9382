import CertsCore
import Foundation

/// A crt-list file of HAProxy as a value: read as HAProxy 2.6 reads it, changed without touching any other byte.
///
/// A line is a comment only where `#` is its first byte; words are separated by blanks; quotes, escapes and continued
/// lines mean nothing; only the brackets of the options do. What HAProxy refuses at its start is kept as it is.
struct CrtListFile: Sendable, Equatable {
    /// One line that names a certificate.
    struct Entry: Sendable, Equatable {
        /// As it is written, relative to `crt-base` or not.
        var path: String
        /// The words between the brackets; `nil`: there are none.
        var options: [String]?
        var filters: [String]
        /// From 1; the number that HAProxy counts too.
        var line: Int
    }

    let contents: Data
    let entries: [Entry]
    /// HAProxy's `crt-base`, where its configuration has one.
    private let base: String?
    /// For each entry where its line lies, the newline included.
    private let ranges: [Range<Int>]

    /// - Parameter base: HAProxy's `crt-base`: relative paths are below it.
    init(_ contents: Data, base: String? = nil) {
        var entries: [Entry] = []
        var ranges: [Range<Int>] = []
        let bytes = [UInt8](contents)
        var (start, number) = (0, 0)
        while start < bytes.count {
            let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
            number += 1
            if let entry = Self.entry(bytes[start..<end], line: number) {
                entries.append(entry)
                ranges.append(start..<min(end + 1, bytes.count))
            }
            start = end + 1
        }
        self.contents = contents
        self.base = base
        self.entries = entries
        self.ranges = ranges
    }

    private static func entry(_ line: ArraySlice<UInt8>, line number: Int) -> Entry? {
        guard let first = line.first, first != UInt8(ascii: "#") else { return nil }
        var words = Words()
        for byte in line { words.take(byte) }
        words.end()
        guard let path = words.path else { return nil }
        // A bracket that is never closed leaves HAProxy with empty options and the rest as filters.
        guard !words.isOpen else {
            return Entry(path: path, options: [], filters: words.options ?? [], line: number)
        }
        return Entry(path: path, options: words.options, filters: words.filters, line: number)
    }

    // MARK: Asking

    /// Whether a line names the file at `path`, in whatever spelling.
    func contains(_ path: String) -> Bool { !entries(of: path).isEmpty }

    /// The lines that name the file at `path`, in whatever spelling.
    func entries(of path: String) -> [Entry] {
        let wanted = resolved(path)
        return entries.filter { resolved($0.path) == wanted }
    }

    private func resolved(_ path: String) -> String {
        guard let base, !path.hasPrefix("/") else { return StoreName.normalized(path) }
        return StoreName.normalized("\(base)/\(path)")
    }

    // MARK: Changing

    /// The file with a line for `path` at its end, or the same file where one names it already, with whatever terms.
    ///
    /// HAProxy refuses a list without a newline at its end: there is one afterwards.
    /// - Throws: `target.notReferenced` for a path that a line cannot hold.
    func adding(_ path: String, _ terms: CrtListTerms) throws(CertsError) -> CrtListFile {
        if contains(path) { return self }
        let name = try StoreName(path)
        guard !name.rawValue.contains(where: { "[]".contains($0) }) else {
            throw CertsError(
                .targetNotReferenced, "\(path) cannot stand in a crt-list: its name has a bracket", subject: path,
                hint: "rename the file: letters, digits and / . _ - only")
        }
        var result = contents
        if let last = result.last, last != UInt8(ascii: "\n") { result.append(UInt8(ascii: "\n")) }
        result.append(contentsOf: "\(terms.line(for: path))\n".utf8)
        return CrtListFile(result, base: base)
    }

    /// The file without the lines that name `path`, in whatever spelling.
    ///
    /// A list without any certificate keeps HAProxy from starting, unless its `bind` has `strict-sni`: look at
    /// ``entries`` before it is written.
    func removing(_ path: String) -> CrtListFile {
        let wanted = resolved(path)
        var result = Data(capacity: contents.count)
        var kept = 0
        let bytes = [UInt8](contents)
        for (entry, range) in zip(entries, ranges) where resolved(entry.path) == wanted {
            result.append(contentsOf: bytes[kept..<range.lowerBound])
            kept = range.upperBound
        }
        guard kept > 0 else { return self }
        result.append(contentsOf: bytes[kept...])
        return CrtListFile(result, base: base)
    }
}

extension CrtListFile {
    /// The words of one line, byte by byte, as HAProxy's parser takes them.
    private struct Words {
        var path: String?
        /// `nil` until a bracket opens. What stood between path and bracket is dropped by HAProxy.
        var options: [String]?
        var filters: [String] = []
        /// In the brackets.
        var isOpen = false
        private var word: [UInt8] = []

        mutating func take(_ byte: UInt8) {
            switch byte {
            case 0x20, 0x09...0x0d: end()
            case UInt8(ascii: "[") where path != nil || !word.isEmpty:
                end()
                options = []
                filters = []
                isOpen = true
            case UInt8(ascii: "]") where isOpen:
                end()
                isOpen = false
            default: word.append(byte)
            }
        }

        mutating func end() {
            guard !word.isEmpty else { return }
            let text = String(decoding: word, as: UTF8.self)
            word.removeAll(keepingCapacity: true)
            if path == nil { path = text } else if isOpen { options?.append(text) } else { filters.append(text) }
        }
    }
}
