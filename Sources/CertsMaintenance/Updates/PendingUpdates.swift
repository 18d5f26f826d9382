package import Foundation

/// What is behind on a host.
package struct PendingUpdates: Sendable, Hashable {
    /// Pending packages; `nil`: not asked for, or unknown.
    package var packages: [PendingPackage]?
    /// When the lists of packages were last loaded.
    package var listsLoadedAt: Date?
    /// `nil`: unknown.
    package var rebootRequired: Bool?
    /// Services that still run what an update has replaced; `nil`: needrestart is not there.
    package var services: [String]?
    package var images: [ImageUpdate] = []
    package var modules: [ModuleUpdate] = []
    /// What could not be found out.
    package var problems: [String] = []

    package init() {}

    /// By where they come from.
    package var packagesByOrigin: [String: Int] {
        Dictionary((packages ?? []).map { ($0.origin, 1) }, uniquingKeysWith: +)
    }

    package var securityCount: Int? { packages.map { $0.filter(\.isSecurity).count } }
}

/// A package of which there is a newer version.
package struct PendingPackage: Sendable, Hashable {
    package var name: String
    package var installed: String
    package var candidate: String
    /// `Debian-Security:12/stable-security`
    package var origin: String
    package var isSecurity: Bool

    /// The lines of `apt-get --simulate` that tell what would be upgraded:
    /// `Inst NAME [INSTALLED] (CANDIDATE ORIGIN, ORIGIN [ARCHITECTURE]) […]`.
    static func parse(_ output: String) -> [PendingPackage] {
        output.split(whereSeparator: \.isNewline).compactMap { line in
            // What would be newly installed has no version in brackets.
            guard line.hasPrefix("Inst "), let open = line.firstIndex(of: "("),
                let close = line[open...].firstIndex(of: ")")
            else { return nil }
            let before = line[..<open].split(separator: " ")
            guard before.count >= 3, before[2].hasPrefix("["), before[2].hasSuffix("]") else { return nil }
            let inside = line[line.index(after: open)..<close]
            guard let blank = inside.firstIndex(of: " ") else { return nil }
            let origins = inside[inside.index(after: blank)...].prefix { $0 != "[" }.split(separator: ",").map {
                $0.trimmingCharacters(in: .whitespaces)
            }
            let security = origins.first { $0.lowercased().contains("security") }
            return PendingPackage(
                name: String(before[1]), installed: String(before[2].dropFirst().dropLast()),
                candidate: String(inside[..<blank]), origin: security ?? origins.first ?? "unknown",
                isSecurity: security != nil)
        }
    }
}

/// An image that a container runs, beside what its registry has under the same name.
package struct ImageUpdate: Sendable, Hashable {
    package enum Verdict: String, Sendable, Hashable {
        case current
        case updateAvailable = "update available"
        /// Asked for by its digest: it never changes.
        case pinned
        /// Built here, or loaded: no registry knows it.
        case local
        case unknown
    }

    package var image: String
    /// Under which the registry gave it.
    package var localDigest: String?
    package var remoteDigest: String?
    package var builtAt: Date?
    package var verdict: Verdict
    /// Why it is unknown.
    package var reason: String?
}

/// A Go module of which a project uses an older version.
package struct ModuleUpdate: Sendable, Hashable {
    package var directory: String
    package var path: String
    package var version: String
    package var update: String
    package var isIndirect: Bool

    /// The output of `go list -u -m -json all`: one object after another.
    static func parse(_ output: String, directory: String) throws -> [ModuleUpdate] {
        var result: [ModuleUpdate] = []
        var object: [Substring] = []
        for line in output.split(whereSeparator: \.isNewline) {
            object.append(line)
            // Objects are indented: only their ends stand at the margin.
            guard line == "}" else { continue }
            let module = try JSONDecoder().decode(Module.self, from: Data(object.joined(separator: "\n").utf8))
            object = []
            guard let update = module.update?.version, let version = module.version, module.isMain != true else {
                continue
            }
            result.append(
                ModuleUpdate(
                    directory: directory, path: module.path, version: version, update: update,
                    isIndirect: module.isIndirect ?? false))
        }
        return result
    }

    private struct Module: Decodable {
        let path: String
        let version: String?
        let isMain: Bool?
        let isIndirect: Bool?
        let update: Update?

        struct Update: Decodable {
            let version: String?

            private enum CodingKeys: String, CodingKey { case version = "Version" }
        }

        private enum CodingKeys: String, CodingKey {
            case path = "Path"
            case version = "Version"
            case isMain = "Main"
            case isIndirect = "Indirect"
            case update = "Update"
        }
    }
}
