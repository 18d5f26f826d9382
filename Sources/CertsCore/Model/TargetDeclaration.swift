import Foundation

/// Where a bundle goes: one HAProxy, or several nodes that are to serve the same.
package struct TargetDeclaration: Sendable, Hashable {
    package var name: Name
    /// At least one, in the order in which they are deployed; the first is the canary.
    package var nodes: [NodeDeclaration]
    /// How many nodes have been deployed at the end of each wave; empty: one node after the other.
    package var waves: [Wave]

    package init(name: Name, nodes: [NodeDeclaration], waves: [Wave] = []) {
        self.name = name
        self.nodes = nodes
        self.waves = waves
    }

    /// A target that is one HAProxy.
    package init(_ node: NodeDeclaration) {
        self.init(name: node.id.target, nodes: [node])
    }

    /// The end of a wave, counted from the first node.
    package enum Wave: Sendable, Hashable {
        case nodes(Int)
        /// From 1 to 100, rounded up to whole nodes.
        case percent(Int)

        package func end(of count: Int) -> Int {
            switch self {
            case .nodes(let end): min(count, max(1, end))
            case .percent(let share): min(count, max(1, (count * min(100, share) + 99) / 100))
            }
        }
    }

    /// The number of the wave of each node, from 0; nodes that no wave names come in a last one.
    package var waveNumbers: [Int] {
        guard !waves.isEmpty else { return Array(nodes.indices) }
        let ends = waves.map { $0.end(of: nodes.count) }
        return nodes.indices.map { index in ends.firstIndex { index < $0 } ?? ends.count }
    }
}

/// One HAProxy: its files, its reload method, its endpoints.
package struct NodeDeclaration: Sendable, Hashable {
    package var id: NodeID
    /// Absolute; `{name}` stands for the certificate's name.
    package var bundle: String
    /// The same file as HAProxy names it, where that is another path (a container's); `{name}` as above.
    package var loadedAs: String?
    package var reload: ReloadMethod
    /// What is used where the runtime API cannot do it; only with ``ReloadMethod/runtime(socket:)``.
    package var fallback: ReloadMethod?
    /// The list of a `bind` that new certificates are added to at run time.
    package var list: ListDeclaration?
    package var endpoints: [Endpoint]
    /// How long the endpoints may take to serve the new certificate after the reload.
    package var verifyWithin: Duration
    /// A command that must succeed before HAProxy is asked to reload, e.g. `haproxy -c -f FILE`.
    package var validate: CommandLine?

    package init(
        id: NodeID, bundle: String, loadedAs: String? = nil, reload: ReloadMethod, fallback: ReloadMethod? = nil,
        list: ListDeclaration? = nil, endpoints: [Endpoint], verifyWithin: Duration = .seconds(15),
        validate: CommandLine? = nil
    ) {
        self.id = id
        self.bundle = bundle
        self.loadedAs = loadedAs
        self.reload = reload
        self.fallback = fallback
        self.list = list
        self.endpoints = endpoints
        self.verifyWithin = verifyWithin
        self.validate = validate
    }

    /// The path of the bundle of `certificate`; a member of several key types adds its suffix.
    package func bundlePath(for certificate: Name, slot: KeyType? = nil) -> String {
        Self.path(bundle, certificate, slot)
    }

    /// The same path as HAProxy names it.
    package func loadedPath(for certificate: Name, slot: KeyType? = nil) -> String {
        Self.path(loadedAs ?? bundle, certificate, slot)
    }

    private static func path(_ pattern: String, _ certificate: Name, _ slot: KeyType?) -> String {
        pattern.replacingOccurrences(of: "{name}", with: certificate.rawValue) + (slot?.bundleSuffix ?? "")
    }
}

/// A crt-list file, or a directory after `crt`: what a `bind` can be given more certificates by at run time
/// (configuration manual §5.1, `crt-list`).
package struct ListDeclaration: Sendable, Hashable {
    /// Of the file or directory, as HAProxy names it.
    package var path: String
    /// The same as this host names it, where that is another path.
    package var file: String?
    /// What stands in brackets in a line that is added: `alpn h2,http/1.1`. Lines that are there are kept.
    package var options: String?
    /// The SNI filters of a line that is added; empty: the names of the certificate.
    package var filters: [String]

    package init(path: String, file: String? = nil, options: String? = nil, filters: [String] = []) {
        self.path = path
        self.file = file
        self.options = options
        self.filters = filters
    }
}
