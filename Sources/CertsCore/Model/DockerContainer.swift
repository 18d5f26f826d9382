/// A HAProxy in a container, reloaded through the Engine API of Docker.
package struct DockerContainer: Sendable, Hashable {
    package var selector: Selector
    /// The Unix socket of the engine; whoever may use it is root on its host.
    package var engineSocket: String
    package var signal: ReloadSignal
    /// The path of HAProxy's configuration inside of the container, for its validation; `nil`: what the running process
    /// was started with.
    package var configuration: String?
    /// Whether the container may be restarted where no signal can reload it; that closes every connection.
    package var restart: Bool

    package init(
        selector: Selector, engineSocket: String = "/var/run/docker.sock", signal: ReloadSignal = .hup,
        configuration: String? = nil, restart: Bool = false
    ) {
        self.selector = selector
        self.engineSocket = engineSocket
        self.signal = signal
        self.configuration = configuration
        self.restart = restart
    }

    /// How the container is found.
    package enum Selector: Sendable, Hashable {
        /// Its name, its id, or the beginning of its id.
        case name(String)
        /// The labels that Compose gives to it; with `project` `nil` the service must be the only one of its name.
        case compose(project: String?, service: String)
    }

    /// Whether `text` can name a container: a name or an id, never a path.
    package static func isName(_ text: String) -> Bool {
        func isAlphanumeric(_ byte: UInt8) -> Bool {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: false
            }
        }
        guard let first = text.utf8.first, isAlphanumeric(first), text.utf8.count <= 255 else { return false }
        return text.utf8.allSatisfy { isAlphanumeric($0) || "_.-".utf8.contains($0) }
    }
}

extension DockerContainer.Selector: CustomStringConvertible {
    /// For messages: `container 'haproxy'`, `service 'loadbalancer' of the Compose project 'shop'`.
    package var description: String {
        switch self {
        case .name(let name): "container '\(name)'"
        case .compose(let project?, let service): "service '\(service)' of the Compose project '\(project)'"
        case .compose(nil, let service): "Compose service '\(service)'"
        }
    }
}
