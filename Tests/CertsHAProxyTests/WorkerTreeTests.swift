import CertsTesting
import Foundation
import Testing

@testable import CertsHAProxy

@Suite struct WorkerTreeTests {
    /// The fields of proc(5), of which only some count here.
    private func process(
        _ pid: Int, parent: Int = 1, name: String = "haproxy", start: Int = 5, image: Int = 77, blocked: String = "0",
        caught: String = "100716a03"
    ) throws -> ProcessStatus {
        let fields = (4...40).map { field in
            switch field {
            case 4: "\(parent)"
            case 22: "\(start)"
            case 28: "\(image)"
            default: "0"
            }
        }
        let status = "Name:\t\(name)\nSigPnd:\t0\nSigBlk:\t\(blocked)\nSigIgn:\t1004\nSigCgt:\t\(caught)\n"
        return try #require(
            ProcessStatus(stat: "\(pid) (\(name)) S \(fields.joined(separator: " "))\n", status: status))
    }

    @Test func `reads a process whose name imitates the fields`() throws {
        let read = try process(42, parent: 7, name: "a) S 1 (b", start: 9, image: 8)
        #expect(read.pid == 42 && read.parent == 7 && read.name == "a) S 1 (b")
        #expect(read.startTicks == 9 && read.image == 8)
        #expect(read.catches(SIGUSR2) && !read.blocks(SIGUSR2))
    }

    @Test(arguments: [
        "", "1", "1 (", ")1(", "1 (a) S", "x (a) S 1 2 3", "1 (a) S " + String(repeating: "-1 ", count: 40),
    ])
    func `cut or foreign text is no process`(stat: String) {
        #expect(ProcessStatus(stat: stat, status: "SigBlk:\t0\nSigCgt:\t0\n") == nil)
        #expect(ProcessStatus(stat: stat, status: "") == nil)
    }

    @Test func `knows a master by the signal that it catches`() throws {
        // The masks are those of a master, of one that loads, of its worker, and of a process without a master.
        let worker = try process(3, parent: 2, caught: "100702205")
        let idle = WorkerTree(master: try process(2), workers: [worker])
        #expect(idle.isMaster && idle.listens)
        let loading = WorkerTree(master: try process(2, blocked: "310a01", caught: "0"), workers: [worker])
        #expect(loading.isMaster && !loading.listens)
        let alone = WorkerTree(master: try process(2, caught: "100702205"), workers: [])
        #expect(!alone.isMaster && !alone.listens)
    }

    @Test func `a pid that is used again is another worker`() throws {
        let before = WorkerTree(master: try process(2), workers: [try process(3, parent: 2, start: 5)])
        let now = WorkerTree(master: try process(2, image: 78), workers: [try process(3, parent: 2, start: 6)])
        #expect(now.newWorker(since: before)?.pid == 3)
        #expect(now.remaining(of: before).isEmpty)
        #expect(now.hasReloaded(since: before) == true)
        #expect(before.hasReloaded(since: before) == false)
        #expect(before.newWorker(since: before) == nil)
        let hidden = WorkerTree(master: try process(2, image: 0), workers: nil)
        #expect(hidden.hasReloaded(since: before) == nil)
    }

    @Test func `sees the children of a process and its age`() throws {
        let process = Process()
        process.executableURL = URL(filePath: "/bin/sleep")
        process.arguments = ["60"]
        try process.run()
        defer { process.terminate() }
        let child = Int(process.processIdentifier)
        #expect(ProcessStatus.children(of: Int(getpid()))?.contains(child) == true)
        let status = try #require(ProcessStatus.read(child))
        #expect(status.parent == Int(getpid()) && !status.hasEnded)
        let age = try #require(status.age)
        #expect(age >= 0 && age < 3600)
        #expect(ProcessStatus.children(of: 2_147_483_646) == nil)
        #expect(ProcessStatus.read(2_147_483_646) == nil)
    }
}
