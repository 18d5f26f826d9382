/// The domain that somebody registered: a public suffix and one label more.
package enum RegisteredDomain {
    /// - Parameter host: a canonical DNS name; `*.` before it does not count.
    /// - Returns: by the excerpt in ``PublicSuffix``; below a suffix that is not in it, the last two labels. So an unknown
    ///   `name.co.example` counts as `co.example`: too much is counted together, never too little for a limit.
    package static func of(_ host: String) -> String {
        var labels = host.split(separator: ".")
        if labels.first == "*" { labels.removeFirst() }
        // The longest suffix that is known, else one label.
        let known = (2..<max(2, labels.count)).last { PublicSuffix.isKnown(labels.suffix($0).joined(separator: ".")) }
        return labels.suffix((known ?? 1) + 1).joined(separator: ".")
    }
}
