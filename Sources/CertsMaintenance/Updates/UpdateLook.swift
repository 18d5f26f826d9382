package import CertsCore
import CertsDocker
import CertsPrograms
import Foundation

/// Looks what is behind on this host; changes nothing, but for the lists of packages where that is asked for.
package struct UpdateLook: Sendable {
    private let work: UpdateCheck

    private static let outputLimit = 16 << 20
    private static let runDirectory = "/run"
    private static let listsDirectory = "/var/lib/apt/lists"

    package init(_ work: UpdateCheck) { self.work = work }

    package func look(control: JobControl) async throws -> PendingUpdates {
        var result = PendingUpdates()
        if work.packages {
            await lookAtPackages(&result, control)
            result.rebootRequired = FileManager.default.fileExists(atPath: "\(Self.runDirectory)/reboot-required")
            await lookAtServices(&result, control)
        }
        if let socket = work.engineSocket { await lookAtImages(socket, &result, control) }
        for directory in work.goModules { await lookAtModules(directory, &result, control) }
        result.problems = result.problems.map { TerminalText.sanitized($0, limit: 500) }
        return result
    }

    private func output(_ arguments: [String], _ what: String, _ control: JobControl, keepsHome: Bool = false)
        async throws -> String
    {
        do {
            let program = Program(
                arguments, deadline: min(.seconds(300), max(.seconds(1), control.left)), outputLimit: Self.outputLimit,
                keepsHome: keepsHome)
            return String(decoding: try await program.run(), as: UTF8.self)
        } catch let failure as ProgramFailure {
            throw failure.certsError(.jobFailed, what)
        }
    }

    private static func isThere(_ program: String) -> Bool {
        ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"].contains {
            access("\($0)/\(program)", X_OK) == 0
        }
    }

    private func lookAtPackages(_ result: inout PendingUpdates, _ control: JobControl) async {
        guard Self.isThere("apt-get") else {
            result.problems.append("packages: there is no apt-get")
            return
        }
        if work.refreshesLists {
            do {
                _ = try await output(["apt-get", "--quiet", "update"], "`apt-get update`", control)
            } catch {
                // The lists that are there still tell something.
                result.problems.append("packages: \(CertsError.wrapping(error).message)")
            }
        }
        do {
            // Simulated: needs no lock and no root, and downloads nothing.
            let words = try await output(
                ["apt-get", "--simulate", "--option", "Debug::NoLocking=1", "dist-upgrade"],
                "`apt-get --simulate dist-upgrade`", control)
            result.packages = PendingPackage.parse(words)
        } catch {
            result.problems.append("packages: \(CertsError.wrapping(error).message)")
        }
        let names = (try? FileManager.default.contentsOfDirectory(atPath: Self.listsDirectory)) ?? []
        result.listsLoadedAt = names.filter { $0.hasSuffix("Release") }.compactMap { name in
            var status = stat()
            // The time of a list is the server's; that of its entry here is when it came.
            guard stat("\(Self.listsDirectory)/\(name)", &status) == 0 else { return nil }
            return Date(timeIntervalSince1970: TimeInterval(status.st_ctim.tv_sec))
        }.max()
        if result.listsLoadedAt == nil {
            result.problems.append("packages: no lists are loaded; run `apt-get update`, or write `refresh: true`")
        }
    }

    private func lookAtServices(_ result: inout PendingUpdates, _ control: JobControl) async {
        guard Self.isThere("needrestart") else { return }
        do {
            // In batch mode, and told to list only: it restarts nothing.
            let words = try await output(["needrestart", "-b", "-r", "l"], "needrestart", control)
            let lines = words.split(whereSeparator: \.isNewline)
            func values(_ key: String) -> [String] {
                lines.filter { $0.hasPrefix("NEEDRESTART-\(key): ") }.map {
                    TerminalText.sanitized(String($0.dropFirst(key.count + 14)), limit: 200)
                }
            }
            result.services = values("SVC").sorted()
            // 3: another kernel is installed than the one that runs.
            if values("KSTA").first == "3" { result.rebootRequired = true }
        } catch {
            result.problems.append("services: \(CertsError.wrapping(error).message)")
        }
    }

    private func lookAtImages(_ socket: String, _ result: inout PendingUpdates, _ control: JobControl) async {
        do {
            let engine = try await DockerEngine.connect(to: socket, reply: .seconds(30))
            var seen: Set<String> = []
            for container in try await engine.containers(all: false) where seen.insert(container.imageID).inserted {
                guard !control.isOver else {
                    result.problems.append("images: \(control.ending)")
                    return
                }
                let name =
                    try await engine.details(["containers", container.id, "json"])?["Config"]?["Image"]?.text
                    ?? container.image
                result.images.append(try await update(of: name, container.imageID, engine))
            }
            result.images.sort { $0.image < $1.image }
        } catch {
            result.problems.append("images: \(CertsError.wrapping(error).message)")
        }
    }

    private func update(of name: String, _ id: String, _ engine: DockerEngine) async throws -> ImageUpdate {
        let details = try await engine.details(["images", id, "json"])
        var result = ImageUpdate(
            image: TerminalText.sanitized(name, limit: 300), builtAt: EngineTime.date(details?["Created"]?.text),
            verdict: .unknown)
        guard let reference = ImageReference(name) else {
            result.verdict = .local
            return result
        }
        let digests = (details?["RepoDigests"]?.elements ?? []).compactMap(\.text)
        let here = digests.filter { $0.hasPrefix(reference.familiarName + "@") }.map {
            String($0.dropFirst(reference.familiarName.utf8.count + 1))
        }
        result.localDigest = here.first
        if reference.digest != nil {
            result.verdict = .pinned
        } else if here.isEmpty {
            result.verdict = .local
        } else {
            do {
                let remote = try await Registry().digest(of: reference)
                result.remoteDigest = remote
                result.verdict = here.contains(remote) ? .current : .updateAvailable
            } catch {
                result.reason = TerminalText.sanitized(error.message, limit: 300)
            }
        }
        return result
    }

    private func lookAtModules(_ directory: String, _ result: inout PendingUpdates, _ control: JobControl) async {
        guard Self.isThere("go") else {
            result.problems.append("\(directory): there is no go")
            return
        }
        do {
            // Read-only: neither go.mod nor go.sum is written.
            let words = try await output(
                ["env", "-C", directory, "GOFLAGS=-mod=readonly", "go", "list", "-u", "-m", "-json", "all"],
                "`go list` in \(directory)", control, keepsHome: true)
            result.modules += try ModuleUpdate.parse(words, directory: directory)
        } catch {
            result.problems.append("\(directory): \(CertsError.wrapping(error).message)")
        }
    }
}

/// Feeds the metrics with what is behind.
struct UpdateWork: HostWork {
    let work: UpdateCheck

    func preview(_ job: Name, sample: Int, control: JobControl) async throws -> [WorkPreview] {
        let pending = try await look(control)
        let outdated = pending.images.filter { $0.verdict == .updateAvailable }
        return [
            WorkPreview(
                subject: "packages", count: pending.packages?.count ?? 0,
                keys: (pending.packages ?? []).prefix(sample).map(\.name), warnings: pending.problems),
            WorkPreview(subject: "images", count: outdated.count, keys: outdated.prefix(sample).map(\.image)),
            WorkPreview(
                subject: "go modules", count: pending.modules.count, keys: pending.modules.prefix(sample).map(\.path)),
        ]
    }

    /// A plan does not load lists, either.
    private func look(_ control: JobControl) async throws -> PendingUpdates {
        var quiet = work
        quiet.refreshesLists = false
        return try await UpdateLook(quiet).look(control: control)
    }

    func run(_ job: Name, control: JobControl) async throws -> JobExecutor.Done {
        let pending = try await UpdateLook(work).look(control: control)
        let outdated = pending.images.filter { $0.verdict == .updateAvailable }.count
        return JobExecutor.Done(
            rows: (pending.packages?.count ?? 0) + outdated + pending.modules.count,
            measures: Self.measures(pending),
            reason: pending.problems.isEmpty ? nil : pending.problems.joined(separator: "; "))
    }

    static func measures(_ pending: PendingUpdates) -> [JobMeasure] {
        var result = pending.packagesByOrigin.sorted { $0.key < $1.key }.map {
            JobMeasure(.packagesPending, ["origin": $0.key], Double($0.value))
        }
        if let count = pending.securityCount { result.append(JobMeasure(.securityPending, [:], Double(count))) }
        if let isRequired = pending.rebootRequired {
            result.append(JobMeasure(.rebootRequired, [:], isRequired ? 1 : 0))
        }
        if let services = pending.services {
            result.append(JobMeasure(.servicesToRestart, [:], Double(services.count)))
        }
        // Containers may run several images of one name: the older ones count.
        var images: [String: Double] = [:]
        for image in pending.images where [.current, .updateAvailable].contains(image.verdict) {
            images[image.image] = max(images[image.image] ?? 0, image.verdict == .updateAvailable ? 1 : 0)
        }
        result += images.sorted { $0.key < $1.key }.map { JobMeasure(.imageUpdate, ["image": $0.key], $0.value) }
        for (directory, modules) in Dictionary(grouping: pending.modules, by: \.directory) {
            result.append(JobMeasure(.modulesPending, ["directory": directory], Double(modules.count)))
        }
        return result
    }
}
