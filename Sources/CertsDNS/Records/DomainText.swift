/// Domain names as text: lower case, without the trailing dot; the root is the empty text.
package enum DomainText {
    /// What is compared and shown.
    package static func canonical(_ name: some StringProtocol) -> String {
        var text = name.lowercased()
        // "a\." ends with an escaped dot, which belongs to the label.
        if text.hasSuffix("."), !text.hasSuffix("\\.") || text.hasSuffix("\\\\.") { text.removeLast() }
        return text
    }

    /// The name without its first label; `nil` of the root.
    package static func parent(of name: String) -> String? {
        guard !name.isEmpty else { return nil }
        var isEscaped = false
        for index in name.indices {
            if isEscaped {
                isEscaped = false
            } else if name[index] == "\\" {
                isEscaped = true
            } else if name[index] == "." {
                return String(name[name.index(after: index)...])
            }
        }
        return ""
    }

    /// The name itself, then each of its parents, the root last.
    package static func ancestry(of name: String) -> [String] {
        var result = [name]
        // A name has at most 127 labels (RFC 1035 §2.3.4).
        while result.count <= 128, let next = result.last.flatMap({ parent(of: $0) }) { result.append(next) }
        return result
    }

    /// Whether `name` is `ancestor` or below it.
    package static func isWithin(_ name: String, _ ancestor: String) -> Bool {
        ancestor.isEmpty || name == ancestor || ancestry(of: name).contains(ancestor)
    }
}
