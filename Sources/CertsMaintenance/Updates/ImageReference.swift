/// The name of an image, taken apart as Docker does (`registry/repository:tag@digest`).
struct ImageReference: Equatable {
    /// `registry-1.docker.io` where none is named.
    let registry: String
    let repository: String
    /// `nil`: only the digest counts.
    let tag: String?
    let digest: String?
    /// As it stands in front of `@` in a digest of the engine: without `docker.io` and `library/`.
    let familiarName: String

    /// `nil`: this is no name of an image, but an id.
    init?(_ text: String) {
        guard !text.hasPrefix("sha256:") else { return nil }
        var rest = text
        if let at = rest.firstIndex(of: "@") {
            digest = String(rest[rest.index(after: at)...])
            rest = String(rest[..<at])
        } else {
            digest = nil
        }
        let lastPart = rest.lastIndex(of: "/").map { rest.index(after: $0) } ?? rest.startIndex
        if let colon = rest[lastPart...].firstIndex(of: ":") {
            tag = String(rest[rest.index(after: colon)...])
            rest = String(rest[..<colon])
        } else {
            tag = digest == nil ? "latest" : nil
        }
        let allowed = rest.utf8.allSatisfy { byte in
            byte >= 48 && byte <= 57 || byte >= 97 && byte <= 122 || byte >= 65 && byte <= 90
                || "._-/:[]".utf8.contains(byte)
        }
        let isTag = (tag ?? "a").utf8.allSatisfy { byte in
            byte >= 48 && byte <= 57 || byte >= 97 && byte <= 122 || byte >= 65 && byte <= 90
                || "._-".utf8.contains(byte)
        }
        guard !rest.isEmpty, allowed, isTag, !rest.contains("..") else { return nil }
        let first = rest.prefix { $0 != "/" }
        // A part with a dot or a port is a host.
        if first.count < rest.count, first.contains(".") || first.contains(":") || first == "localhost" {
            let path = String(rest.dropFirst(first.count + 1))
            let isHub = first == "docker.io" || first == "index.docker.io"
            registry = isHub ? Self.hub : String(first)
            repository = isHub && !path.contains("/") ? "library/\(path)" : path
            familiarName = isHub ? (path.hasPrefix("library/") ? String(path.dropFirst(8)) : path) : rest
        } else {
            registry = Self.hub
            repository = rest.contains("/") ? rest : "library/\(rest)"
            familiarName = rest
        }
    }

    private static let hub = "registry-1.docker.io"
}
