import CertsCore
import CertsDocker
import Foundation

/// What an engine keeps that nobody uses, decided from what it says alone: the same lists give the same answer, so that
/// what a plan shows is what a run removes.
struct DockerLeftovers {
    enum Kind: String, CaseIterable {
        case containers, networks, images
        case buildCache = "build-cache"
        case volumes
    }

    struct Item: Equatable {
        let kind: Kind
        let id: String
        let name: String
        /// What goes with it at least.
        let bytes: Int

        /// For people; the beginning of an id as Docker shows it.
        var shown: String {
            let short = id.hasPrefix("sha256:") ? id.dropFirst(7).prefix(12) : id.prefix(12)
            return TerminalText.sanitized(name.isEmpty ? String(short) : name, limit: 200)
        }
    }

    /// What the engine said.
    struct Facts {
        var usage: DiskUsage
        /// With the steps of builds.
        var images: [DiskUsage.Image]
        var networks: [NetworkSummary]
        /// When a container ended, by its id; `nil`: it never ran.
        var ended: [String: Date] = [:]
        /// When an image got a name here, by its id.
        var named: [String: Date] = [:]
        /// The images of the last deployments.
        var rollbackImages: Set<String> = []
        /// Since when a volume is known to be in nobody's hands.
        var detached = DetachedVolumes()
    }

    let work: DockerCleanUp
    let facts: Facts
    let now: Date

    /// In the order in which they go.
    func items() -> [Item] { containers() + networks() + images() + cache() + volumes() }

    private func isOld(_ date: Date?) -> Bool { date.map { now.timeIntervalSince($0) >= work.age } ?? false }

    private static func isKept(_ labels: [String: String]?) -> Bool { labels?[DockerCleanUp.keepLabel] != nil }

    /// States of a container that does nothing and will do nothing by itself.
    static let endedStates: Set<String> = ["created", "exited", "dead"]

    private func containers() -> [Item] {
        facts.usage.containers.filter { container in
            let created = Date(timeIntervalSince1970: TimeInterval(container.created))
            return Self.endedStates.contains(container.state) && !Self.isKept(container.labels)
                // What a rollback that was cut short left is somebody's only way back.
                && !container.name.hasSuffix(ServiceRollback.suffix)
                && isOld(facts.ended[container.id] ?? created)
        }.sorted { $0.created < $1.created }.map {
            Item(kind: .containers, id: $0.id, name: $0.name, bytes: max(0, $0.writtenSize ?? 0))
        }
    }

    /// One that a stopped container names would be missed at its next start.
    private func networks() -> [Item] {
        var used: Set<String> = []
        for container in facts.usage.containers {
            for (name, attachment) in container.networks?.byName ?? [:] {
                used.insert(name)
                if let id = attachment.networkID { used.insert(id) }
            }
        }
        return facts.networks.filter { network in
            !network.isPredefined && !used.contains(network.id) && !used.contains(network.name)
                && !Self.isKept(network.labels) && isOld(EngineTime.date(network.created))
        }.sorted { $0.name < $1.name }.map { Item(kind: .networks, id: $0.id, name: $0.name, bytes: 0) }
    }

    /// An image goes with all that were built on it, the last first; so none is taken that another one needs.
    private func images() -> [Item] {
        let used = Set(facts.usage.containers.map(\.imageID))
        let sized = Dictionary(facts.usage.images.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        var children: [String: [String]] = [:]
        for image in facts.images {
            if let parent = image.parent, !parent.isEmpty { children[parent, default: []].append(image.id) }
        }
        var left = facts.images.filter { image in
            let built = Date(timeIntervalSince1970: TimeInterval(image.created))
            let newest = max(built, facts.named[image.id] ?? built)
            return !used.contains(image.id) && !facts.rollbackImages.contains(image.id)
                && !Self.isKept(image.labels) && isOld(newest)
        }.sorted { ($0.created, $0.id) < ($1.created, $1.id) }
        var gone: Set<String> = []
        var result: [Item] = []
        while true {
            let free = left.filter { (children[$0.id] ?? []).allSatisfy(gone.contains) }
            guard !free.isEmpty else { return result }
            for image in free {
                gone.insert(image.id)
                let known = sized[image.id]
                result.append(
                    Item(
                        kind: .images, id: image.id, name: (image.names + image.digestNames).first ?? "",
                        bytes: known.map { max(0, $0.size - max(0, $0.sharedSize)) } ?? 0))
            }
            left.removeAll { gone.contains($0.id) }
        }
    }

    /// As with images: first what nothing was built on.
    private func cache() -> [Item] {
        var children: [String: [String]] = [:]
        for record in facts.usage.buildCache {
            for parent in [record.parent ?? ""] + (record.parents ?? []) where !parent.isEmpty {
                children[parent, default: []].append(record.id)
            }
        }
        var left = facts.usage.buildCache.filter { record in
            !record.inUse && isOld(EngineTime.date(record.lastUsedAt) ?? EngineTime.date(record.createdAt))
        }.sorted { $0.id < $1.id }
        var gone: Set<String> = []
        var result: [Item] = []
        while true {
            let free = left.filter { (children[$0.id] ?? []).allSatisfy(gone.contains) }
            guard !free.isEmpty else { return result }
            for record in free {
                gone.insert(record.id)
                // What an image has too stays on the disk.
                result.append(
                    Item(kind: .buildCache, id: record.id, name: "", bytes: record.isShared ? 0 : max(0, record.size)))
            }
            left.removeAll { gone.contains($0.id) }
        }
    }

    /// The volumes that may be taken at all and that nobody uses now, whatever their age.
    static func detachable(_ usage: DiskUsage, _ work: DockerCleanUp) -> [DiskUsage.Volume] {
        let mounted = Set(usage.containers.flatMap { ($0.mounts ?? []).compactMap(\.name) })
        return usage.volumes.filter { volume in
            let labels = volume.labels ?? [:]
            let isNamed = work.volumeLabels.contains { wanted in
                let parts = wanted.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(
                    String.init)
                return parts.count == 2 ? labels[parts[0]] == parts[1] : labels[wanted] != nil
            }
            return isNamed && !isKept(labels) && !mounted.contains(volume.name) && (volume.usage?.references ?? 0) <= 0
        }
    }

    private func volumes() -> [Item] {
        Self.detachable(facts.usage, work).filter { volume in
            isOld(facts.detached.since[volume.name]) && isOld(EngineTime.date(volume.createdAt))
        }.sorted { $0.name < $1.name }.map {
            Item(kind: .volumes, id: $0.name, name: $0.name, bytes: max(0, $0.usage?.size ?? 0))
        }
    }
}
