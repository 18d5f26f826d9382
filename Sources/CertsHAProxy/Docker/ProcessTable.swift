import CertsCore
import Foundation

/// `GET /containers/{id}/top`: lines of `ps`, split into columns.
struct ProcessTable: Decodable, Sendable {
    let titles: [String]
    /// `nil`: the last one has ended a moment ago.
    let processes: [[String]]?

    private enum CodingKeys: String, CodingKey {
        case titles = "Titles"
        case processes = "Processes"
    }

    /// What `ps` is asked for: columns that procps and BusyBox know.
    static let columns = "-o pid,ppid,etime,args"

    /// - Throws: `target.unexpectedReply` where a column or a number is missing.
    func decoded() throws(CertsError) -> [ContainerProcess] {
        var result: [ContainerProcess] = []
        for row in processes ?? [] {
            guard row.count == titles.count, let pid = value("PID", in: row).flatMap({ Int($0) }),
                let parent = value("PPID", in: row).flatMap({ Int($0) }), let words = row.last
            else {
                throw CertsError(
                    .targetUnexpectedReply, "the Docker Engine lists processes in columns that nobody asked for",
                    hint: "check `ps \(Self.columns)` on the host of the engine")
            }
            result.append(
                ContainerProcess(
                    pid: pid, parent: parent, age: value("ELAPSED", in: row).flatMap(Self.seconds),
                    arguments: words.split(separator: " ").map(String.init)))
        }
        return result
    }

    private func value(_ title: String, in row: [String]) -> String? {
        titles.firstIndex(of: title).map { row[$0] }
    }

    /// `[[dd-]hh:]mm:ss`
    static func seconds(_ elapsed: String) -> Double? {
        let days = elapsed.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard let clock = days.last else { return nil }
        let parts = clock.split(separator: ":", omittingEmptySubsequences: false).map { UInt16($0) }
        guard (2...3).contains(parts.count), days.count == 1 || UInt16(days[0]) != nil else { return nil }
        var total = days.count == 2 ? Double(UInt16(days[0]) ?? 0) : 0
        for (index, part) in parts.enumerated() {
            guard let part else { return nil }
            total = total * (index == 0 && parts.count == 3 ? 24 : 60) + Double(part)
        }
        return total
    }
}
