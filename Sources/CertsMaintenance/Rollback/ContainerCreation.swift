import CertsCore
import CertsDocker
import Foundation

/// How a container is made that is like another one.
enum ContainerCreation {
    /// The body of `POST /containers/create`, from what the engine tells of a container (`GET /containers/{id}/json`).
    ///
    /// Nothing in it depends on the single container, so that equal deployments give equal values.
    static func body(of details: JSONValue) -> JSONValue {
        let id = details["Id"]?.text ?? ""
        let host = details["HostConfig"] ?? .object([:])
        var body = details["Config"] ?? .object([:])
        // Where nobody gave it a name it is called by its id.
        if let name = body["Hostname"]?.text, name == String(id.prefix(12)) { body["Hostname"] = nil }
        let mode = host["NetworkMode"]?.text ?? "default"
        if mode.hasPrefix("container:") {
            // They belong to the other container, and are refused here.
            for key in ["Hostname", "Domainname", "ExposedPorts"] { body[key] = nil }
        }
        body["HostConfig"] = host
        if mode != "host", mode != "none", !mode.hasPrefix("container:") {
            let endpoints = (details["NetworkSettings"]?["Networks"]?.members ?? [:]).mapValues { endpoint in
                var kept = JSONValue.object([:])
                for key in ["IPAMConfig", "Links", "DriverOpts"] {
                    if let value = endpoint[key], !value.isNull { kept[key] = value }
                }
                let aliases = (endpoint["Aliases"]?.elements ?? []).filter { $0.text != String(id.prefix(12)) }
                if !aliases.isEmpty { kept["Aliases"] = .array(aliases) }
                return kept
            }
            body["NetworkingConfig"] = .object(["EndpointsConfig": .object(endpoints)])
        }
        return body
    }

    /// The same for a new container.
    ///
    /// - Parameters:
    ///   - image: what to make it from.
    ///   - old: the container whose place it takes: it keeps the volumes that have no name in the settings.
    /// - Returns: the body, and the networks that it is connected to afterwards: the engine takes one at a time.
    static func request(_ creation: JSONValue, image: String, replacing old: JSONValue?) -> (
        body: JSONValue, networks: [(name: String, endpoint: JSONValue)]
    ) {
        var body = creation
        body["Image"] = .string(image)
        // A container that removes itself could not be looked at, nor put back.
        body["HostConfig"]?["AutoRemove"] = .bool(false)
        if let old {
            if let mounts = body["HostConfig"]?["Mounts"]?.elements, !mounts.isEmpty {
                body["HostConfig"]?["Mounts"] = .array(mounts.map { named($0, as: old) })
            }
            let more = anonymousVolumes(of: old, besides: creation)
            if !more.isEmpty {
                let binds = body["HostConfig"]?["Binds"]?.elements ?? []
                body["HostConfig"]?["Binds"] = .array(binds + more.map { .string($0) })
            }
        }
        var endpoints = body["NetworkingConfig"]?["EndpointsConfig"]?.members ?? [:]
        guard endpoints.count > 1 else { return (body, []) }
        let mode = body["HostConfig"]?["NetworkMode"]?.text ?? "default"
        let first = endpoints[mode] == nil ? endpoints.keys.sorted()[0] : mode
        body["NetworkingConfig"]?["EndpointsConfig"] = .object([first: endpoints[first] ?? .object([:])])
        endpoints[first] = nil
        return (body, endpoints.sorted { $0.key < $1.key }.map { ($0.key, $0.value) })
    }

    /// A mount of a volume without a name, with the volume that the old container has in this place.
    private static func named(_ mount: JSONValue, as old: JSONValue) -> JSONValue {
        guard mount["Type"]?.text == "volume", (mount["Source"]?.text ?? "").isEmpty, let place = mount["Target"]?.text,
            let name = (old["Mounts"]?.elements ?? []).first(where: { $0["Destination"]?.text == place })?["Name"]
        else { return mount }
        var result = mount
        result["Source"] = name
        return result
    }

    private static func anonymousVolumes(of old: JSONValue, besides creation: JSONValue) -> [String] {
        let host = creation["HostConfig"]
        var covered = Set(
            (host?["Binds"]?.elements ?? []).compactMap { bind -> String? in
                let parts = bind.text?.split(separator: ":", omittingEmptySubsequences: false) ?? []
                return parts.count > 1 ? String(parts[1]) : nil
            })
        covered.formUnion((host?["Mounts"]?.elements ?? []).compactMap { $0["Target"]?.text })
        covered.formUnion((host?["Tmpfs"]?.members ?? [:]).keys)
        return (old["Mounts"]?.elements ?? []).compactMap { mount in
            guard mount["Type"]?.text == "volume", let name = mount["Name"]?.text, !name.isEmpty,
                let place = mount["Destination"]?.text, !covered.contains(place)
            else { return nil }
            return "\(name):\(place)" + (mount["RW"] == .bool(false) ? ":ro" : "")
        }.sorted()
    }
}
