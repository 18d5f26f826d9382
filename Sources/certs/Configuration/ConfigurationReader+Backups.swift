import CertsCore
import Foundation
import Yams

// Jobs that make backups of the database and try them.
extension ConfigurationReader {
    func databaseBackup(_ block: ConfigurationBlock) -> JobWork? {
        let directory = block.requiredText("directory", "name the directory of the backups (mode 0700)")
            .flatMap { path($0) }
        var backup = DatabaseBackup(directory: directory ?? "")
        if let format = block.text("format").flatMap({ word($0, "a format", DatabaseBackup.Format.self) }) {
            backup.format = format
        }
        if let comparison = block.text("compare").flatMap({
            word($0, "a comparison", DatabaseBackup.Comparison.self)
        }) {
            backup.comparison = comparison
        }
        backup.parallel = block.integer("jobs", 1...64) ?? 1
        backup.clientDirectory = block.text("clientDirectory").flatMap { path($0) }
        if block.node("offsite") != nil {
            backup.offsite = programLine(block, "offsite", "[/usr/local/bin/copy-backup]") ?? []
        }
        if block.node("keep") != nil {
            guard let keep = block.block("keep", keys: ["daily", "weekly", "monthly"]) else { return nil }
            let numbers = ["daily", "weekly", "monthly"].map { keep.integer($0, 0...10_000) ?? 0 }
            backup.retention = BackupRetention(daily: numbers[0], weekly: numbers[1], monthly: numbers[2])
        }
        return directory == nil ? nil : .backUp(backup)
    }

    func restoreTest(_ block: ConfigurationBlock) -> JobWork? {
        guard let text = block.text("of") else { return .testRestore(RestoreTest()) }
        do {
            return .testRestore(RestoreTest(of: try Name(text.value)))
        } catch {
            problems.add(text.mark, "\(error.message) for a job", error.hint ?? "name a job of kind backup")
            return nil
        }
    }

    func physicalBackup(_ block: ConfigurationBlock) -> JobWork? {
        guard let stanza = block.requiredText("stanza", "write the name that pgBackRest has for the server") else {
            return nil
        }
        guard stanza.value.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) }) else {
            problems.add(stanza.mark, "'\(stanza.value)' is no name of a stanza", "letters, digits, '-', '_' and '.'")
            return nil
        }
        var backup = PhysicalBackup(stanza: stanza.value)
        if let extent = block.text("type").flatMap({ word($0, "a type of backup", PhysicalBackup.Extent.self) }) {
            backup.extent = extent
        }
        if block.node("program") != nil {
            guard let program = programLine(block, "program", "[runuser, -u, postgres, --, pgbackrest]") else {
                return nil
            }
            backup.program = program
        }
        return .backUpServer(backup)
    }

    /// Each test of a restore has a job that makes what it restores.
    func checkBackups(_ declaration: MaintenanceDeclaration, _ block: ConfigurationBlock) {
        var places: [String: Name] = [:]
        for job in declaration.jobs {
            guard case .backUp(let work) = job.work else { continue }
            let place = URL(fileURLWithPath: work.directory).standardizedFileURL.path
            if let other = places[place] {
                problems.add(
                    block.mark("jobs"), "'\(other)' and '\(job.name)' keep their backups in one directory",
                    "give each a directory of its own: each deletes what its own `keep` does not name")
            }
            places[place] = job.name
        }
        for job in declaration.jobs {
            guard case .testRestore(let work) = job.work else { continue }
            do {
                _ = try declaration.backup(of: work.job)
            } catch {
                problems.add(
                    block.mark("jobs"), "job '\(job.name)': \(error.message)", error.hint ?? "name one with 'of'")
            }
        }
    }
}
