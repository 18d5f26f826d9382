package import Foundation

/// `GET /system/df`: what the engine keeps on the disk.
package struct DiskUsage: Decodable, Sendable {
    /// Of all layers of all images, in bytes.
    package let layersSize: Int
    package let images: [Image]
    package let containers: [Container]
    package let volumes: [Volume]
    package let buildCache: [CacheRecord]

    private enum CodingKeys: String, CodingKey {
        case layersSize = "LayersSize"
        case images = "Images"
        case containers = "Containers"
        case volumes = "Volumes"
        case buildCache = "BuildCache"
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        layersSize = try container.decodeIfPresent(Int.self, forKey: .layersSize) ?? 0
        images = try container.decodeIfPresent([Image].self, forKey: .images) ?? []
        containers = try container.decodeIfPresent([Container].self, forKey: .containers) ?? []
        volumes = try container.decodeIfPresent([Volume].self, forKey: .volumes) ?? []
        buildCache = try container.decodeIfPresent([CacheRecord].self, forKey: .buildCache) ?? []
    }

    /// An image, also as `GET /images/json` lists it.
    package struct Image: Decodable, Sendable {
        package let id: String
        /// Empty: none.
        package let parent: String?
        package let tags: [String]?
        package let digests: [String]?
        package let labels: [String: String]?
        /// When it was built, in seconds since 1970.
        package let created: Int
        package let size: Int
        /// Of it what other images have too; -1: not computed.
        package let sharedSize: Int

        private enum CodingKeys: String, CodingKey {
            case id = "Id"
            case parent = "ParentId"
            case tags = "RepoTags"
            case digests = "RepoDigests"
            case labels = "Labels"
            case created = "Created"
            case size = "Size"
            case sharedSize = "SharedSize"
        }

        /// `NAME:TAG`s; without the `<none>:<none>` of an image that has none.
        package var names: [String] { (tags ?? []).filter { !$0.hasSuffix(":<none>") } }
        package var digestNames: [String] { (digests ?? []).filter { !$0.hasPrefix("<none>@") } }
    }

    /// A container, also as `GET /containers/json` lists it.
    package struct Container: Decodable, Sendable {
        package let id: String
        package let names: [String]?
        package let image: String
        package let imageID: String
        package let state: String
        package let created: Int
        package let labels: [String: String]?
        /// Of the files that it has written; `nil`: not computed, or none.
        package let writtenSize: Int?
        package let mounts: [Mount]?
        package let networks: Networks?

        private enum CodingKeys: String, CodingKey {
            case id = "Id"
            case names = "Names"
            case image = "Image"
            case imageID = "ImageID"
            case state = "State"
            case created = "Created"
            case labels = "Labels"
            case writtenSize = "SizeRw"
            case mounts = "Mounts"
            case networks = "NetworkSettings"
        }

        package var name: String { String((names?.first ?? id).drop { $0 == "/" }) }

        package struct Mount: Decodable, Sendable {
            package let name: String?

            private enum CodingKeys: String, CodingKey { case name = "Name" }
        }

        package struct Networks: Decodable, Sendable {
            package let byName: [String: Attachment]?

            private enum CodingKeys: String, CodingKey { case byName = "Networks" }

            package struct Attachment: Decodable, Sendable {
                package let networkID: String?

                private enum CodingKeys: String, CodingKey { case networkID = "NetworkID" }
            }
        }
    }

    package struct Volume: Decodable, Sendable {
        package let name: String
        package let labels: [String: String]?
        package let createdAt: String?
        package let usage: Usage?

        private enum CodingKeys: String, CodingKey {
            case name = "Name"
            case labels = "Labels"
            case createdAt = "CreatedAt"
            case usage = "UsageData"
        }

        package struct Usage: Decodable, Sendable {
            /// Of containers, also those that do not run; -1: not computed.
            package let references: Int
            package let size: Int

            private enum CodingKeys: String, CodingKey {
                case references = "RefCount"
                case size = "Size"
            }
        }
    }

    /// One record of BuildKit's cache.
    package struct CacheRecord: Decodable, Sendable {
        package let id: String
        /// `nil` or empty: none. Newer engines tell several.
        package let parent: String?
        package let parents: [String]?
        package let type: String?
        package let inUse: Bool
        package let isShared: Bool
        package let size: Int
        package let createdAt: String?
        package let lastUsedAt: String?

        private enum CodingKeys: String, CodingKey {
            case id = "ID"
            case parent = "Parent"
            case parents = "Parents"
            case type = "Type"
            case inUse = "InUse"
            case isShared = "Shared"
            case size = "Size"
            case createdAt = "CreatedAt"
            case lastUsedAt = "LastUsedAt"
        }
    }
}

/// A network of `GET /networks`.
package struct NetworkSummary: Decodable, Sendable {
    package let id: String
    package let name: String
    package let created: String?
    package let scope: String?
    package let labels: [String: String]?
    package let isIngress: Bool?

    private enum CodingKeys: String, CodingKey {
        case id = "Id"
        case name = "Name"
        case created = "Created"
        case scope = "Scope"
        case labels = "Labels"
        case isIngress = "Ingress"
    }

    /// Those that the engine makes for itself.
    package var isPredefined: Bool {
        ["bridge", "host", "none", "docker_gwbridge", "ingress"].contains(name) || isIngress == true || scope == "swarm"
    }
}

/// Points in time as the engine writes them (RFC 3339 with up to nine decimals).
package enum EngineTime {
    /// `nil`: none, also for the year 1, which stands for "never".
    package static func date(_ text: String?) -> Date? {
        guard let text, !text.hasPrefix("0001-") else { return nil }
        // Decimals, which ISO8601DateFormatter takes in one length only, do not matter here.
        var plain = text
        if let dot = text.firstIndex(of: ".") {
            let rest = text[text.index(after: dot)...].drop { $0.isNumber }
            plain = String(text[..<dot]) + rest
        }
        return try? Date(plain, strategy: .iso8601)
    }
}
