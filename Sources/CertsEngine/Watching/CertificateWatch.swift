package import CertsCore
import Foundation
import Logging

/// Looks at everything that is declared to be watched: directories and endpoints.
package struct CertificateWatch: Sendable {
    let context: EngineContext
    let scanner: CertificateScanner
    let endpoints: EndpointWatch

    package static let scanTaskName = "scan"
    package static let probeTaskName = "probe"

    package init(context: EngineContext, files: any WatchedFiles, endpoints: EndpointWatch) {
        self.context = context
        self.scanner = CertificateScanner(files: files, inventory: context.inventory)
        self.endpoints = endpoints
    }

    /// Forgets what is not declared any more.
    package func forget() async throws {
        let watch = context.declarations.watch
        try await context.inventory.forgetWatched(
            except: watch.directories.map(\.name), endpoints: watch.endpoints.map(\.label))
    }

    /// What one look at the directories found.
    package struct Look: Sendable {
        package var directories: [String] = []
        package var summaries: [(directory: WatchedDirectory, summary: CertificateScanner.Summary)] = []
        package var isChanged: Bool { summaries.contains { $0.summary.isChanged } }
    }

    /// Scans all directories, one after the other; one that fails does not hide the others.
    package func scan() async -> Look {
        var look = Look()
        for directory in context.declarations.watch.directories {
            do {
                let summary = try await scanner.scan(directory.path, as: directory, now: context.now)
                look.directories += summary.directories
                look.summaries.append((directory, summary))
            } catch {
                context.logger.error(
                    "a watched directory could not be scanned: \(CertsError.wrapping(error))",
                    metadata: ["source": "\(directory.name)"])
            }
        }
        return look
    }

    /// Shakes hands with all endpoints.
    package func probe() async {
        do {
            try await endpoints.look(at: context.declarations.watch.endpoints, now: { [context] in context.now })
        } catch {
            context.logger.error("the watched endpoints could not be recorded: \(CertsError.wrapping(error))")
        }
    }

    /// Records a run of one of the two tasks.
    func record(_ name: String, interval: TimeInterval, startedAt: Date) async {
        let endedAt = context.now
        do {
            try await context.schedule.save(
                TaskRecord(
                    name: name, nextRunAt: startedAt.addingTimeInterval(interval), lastRunAt: startedAt,
                    lastSuccessAt: endedAt, interval: interval, duration: endedAt.timeIntervalSince(startedAt)))
        } catch {
            context.logger.error("a run of '\(name)' could not be recorded: \(CertsError.wrapping(error))")
        }
    }
}
