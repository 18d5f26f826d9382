import CertsCore
import CertsDocker
import Foundation

extension DockerReloader {
    func check(bundlePaths: [String]) async -> [Finding] {
        do {
            let found = try await RunningContainer.locate(container, reply: reply)
            switch try found.way(mayRestart: container.restart) {
            case .signal:
                return await Self.mountFindings(found, bundlePaths, isRestarted: false)
            case .restart:
                return [Self.restartFinding(found)]
                    + (await Self.mountFindings(found, bundlePaths, isRestarted: true))
            }
        } catch {
            return [error.finding]
        }
    }

    private static func restartFinding(_ found: RunningContainer) -> Finding {
        Finding(
            id: "docker-restart", severity: .warning,
            message: "\(found.shownName) can only be restarted: each rotation closes every connection",
            remedy: "start HAProxy with `-W` as the command of the container, then `restart: true` is not needed")
    }

    /// - Parameter isRestarted: a restart mounts each file anew.
    static func mountFindings(
        _ found: RunningContainer, _ paths: [String], isRestarted: Bool
    ) async -> [Finding] {
        let mounts = ContainerMounts(mounts: found.inspection.mounts + (await volumeMounts(found)))
        // Real paths are asked of the file system, which may be a slow one.
        let findings = try? await BlockingPool.shared.run {
            paths.compactMap { path -> Finding? in
                guard let place = mounts.place(of: path) else { return notMounted(path, found) }
                return place.isSingleFile && !isRestarted ? singleFile(path, place.path, found) : nil
            }
        }
        return findings ?? []
    }

    /// Volumes that are a directory of the host, by the path of that directory: what the driver has mounted may be out
    /// of our sight (a mount namespace of our own).
    private static func volumeMounts(_ found: RunningContainer) async -> [ContainerMount] {
        var result: [ContainerMount] = []
        for mount in found.inspection.mounts where mount.type == "volume" {
            guard let name = mount.name, let volume = try? await found.engine.volume(name) else { continue }
            guard let directory = volume.boundDirectory else { continue }
            result.append(ContainerMount(type: "volume", name: name, source: directory, destination: mount.destination))
        }
        return result
    }

    private static func singleFile(_ path: String, _ place: String, _ found: RunningContainer) -> Finding {
        Finding(
            id: "docker-single-file-mount", severity: .error,
            message: "\(path) is mounted into \(found.shownName) as a single file (\(place)): the new file comes by a "
                + "rename, and the container goes on seeing the old one",
            remedy: "mount its directory instead, then make the container anew (`docker-compose up -d`)")
    }

    private static func notMounted(_ path: String, _ found: RunningContainer) -> Finding {
        // The paths of the engine are those of its host: from inside of another container they cannot be compared.
        let isInContainer = access("/.dockerenv", F_OK) == 0
        return Finding(
            id: "docker-bundle-not-mounted", severity: isInContainer ? .warning : .error,
            message:
                "no mount of \(found.shownName) has \(path)\(isInContainer ? ", as far as this container knows" : "")",
            remedy: "mount the directory of `bundle:` into it, or correct `bundle:`, which is a path of this host")
    }
}
