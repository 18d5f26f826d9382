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
        /// Whether what was found, or that a directory is not there, could be recorded for each of them.
        package var isRecorded = true
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
                look.isRecorded = false
                context.logger.error(
                    "a watched directory could not be scanned: \(CertsError.wrapping(error))",
                    metadata: ["source": "\(directory.name)"])
            }
        }
        return look
    }

    /// Shakes hands with all endpoints.
    ///
    /// - Returns: whether what was seen could be recorded.
    package func probe() async -> Bool {
        do {
            try await endpoints.look(at: context.declarations.watch.endpoints, now: { [context] in context.now })
            return true
        } catch {
            context.logger.error("the watched endpoints could not be recorded: \(CertsError.wrapping(error))")
            return false
        }
    }

    /// Records a run of one of the two tasks. What is bad about an input belongs to its source; a run fails only where
    /// nothing could be learnt from it.
    func record(_ name: String, interval: TimeInterval, startedAt: Date, hasSucceeded: Bool) async {
        let endedAt = context.now
        do {
            let before = try await context.schedule.task(name)?.lastSuccessAt
            try await context.schedule.save(
                TaskRecord(
                    name: name, nextRunAt: startedAt.addingTimeInterval(interval), lastRunAt: startedAt,
                    lastSuccessAt: hasSucceeded ? endedAt : before, interval: interval,
                    duration: max(0, endedAt.timeIntervalSince(startedAt))))
        } catch {
            context.logger.error("a run of '\(name)' could not be recorded: \(CertsError.wrapping(error))")
        }
    }
}
