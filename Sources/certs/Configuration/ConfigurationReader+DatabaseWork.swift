import CertsCore

// Kinds of jobs that work on the database itself.
extension ConfigurationReader {
    func vacuum(_ block: ConfigurationBlock) -> JobWork {
        var work = VacuumWork(scope: scope(block))
        if let rows = block.integer("deadRows", 1...1_000_000_000) { work.deadRows = rows }
        if let percent = block.integer("deadShare", 0...100) { work.deadShare = Double(percent) / 100 }
        if let percent = block.integer("changedShare", 0...100) { work.changedShare = Double(percent) / 100 }
        // As the server's own setting: milliseconds, 100 at most.
        if let delay = block.integer("costDelay", 0...100) { work.costDelay = delay }
        return .database(.vacuum(work))
    }

    func vacuumFull(_ block: ConfigurationBlock) -> JobWork? {
        let scope = scope(block)
        guard !scope.names.isEmpty else {
            block.missing("tables", "name each table that nobody needs meanwhile: [messages]")
            return nil
        }
        return .database(
            .vacuumFull(VacuumFullWork(scope: scope, freeSpaceChecked: block.flag("freeSpaceChecked") ?? false)))
    }

    func reindex(_ block: ConfigurationBlock) -> JobWork {
        var work = ReindexWork(scope: scope(block), indexes: block.texts("indexes").map(\.value))
        if let percent = block.integer("bloat", 1...99) { work.bloatShare = Double(percent) / 100 }
        return .database(.reindex(work))
    }

    func databaseReport(_ block: ConfigurationBlock) -> JobWork {
        .database(.report(DatabaseReportWork(top: block.integer("top", 1...1000) ?? 20)))
    }

    private func scope(_ block: ConfigurationBlock) -> TableScope {
        TableScope(schema: block.text("schema")?.value ?? "public", names: block.texts("tables").map(\.value))
    }
}
