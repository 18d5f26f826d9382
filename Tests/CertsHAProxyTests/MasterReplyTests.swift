import CertsCore
import Testing

@testable import CertsHAProxy

@Suite struct MasterReplyTests {
    /// As HAProxy 2.6.12 wrote it.
    static let header = "#<PID>          <type>          <reloads>       <uptime>        <version>      \n"
    static let recorded =
        header + """
            11121           master          2 [failed: 1]   0d00h01m02s     2.6.12-1+deb12u4
            # workers
            11135           worker          1               0d00h00m01s     2.6.12-1+deb12u4
            # old workers
            11122           worker          2               1d02h03m04s     2.6.12-1+deb12u4
            # programs


            """
    /// From 3.3 on, by its source: no programs.
    static let newer =
        header + """
            900             master          0 [failed: 0]   0d00h00m09s     3.3.1-abcdef0
            # workers
            901             worker          0               0d00h00m09s     3.3.1-abcdef0


            """
    /// Up to 2.4, by its source: a relative pid, and no failed reloads.
    static let older = """
        #<PID>          <type>          <relative PID>  <reloads>       <uptime>        <version>      
        800             master          0               3               0d00h00m09s     2.4.22-1
        # workers
        805             worker          1               0               0d00h00m01s     2.4.22-1
        # old workers
        801             worker          [was: 1]        3               0d00h00m09s     2.4.22-1
        # programs
        806             dataplane       -               0               0d00h00m01s     -


        """

    @Test func `reads the processes of 2.6`() throws {
        let read = try MasterReply.processes(Self.recorded)
        #expect(read.master == .init(pid: 11121, reloads: 2, failed: 1, version: "2.6.12-1+deb12u4"))
        #expect(read.workers == [.init(pid: 11135, reloads: 1, uptime: 1)])
        #expect(read.oldWorkers == [.init(pid: 11122, reloads: 2, uptime: 93784)])
        #expect(!read.master.reportsReloads)
    }

    @Test func `reads the processes of other versions`() throws {
        let newer = try MasterReply.processes(Self.newer)
        #expect(newer.master == .init(pid: 900, reloads: 0, failed: 0, version: "3.3.1-abcdef0"))
        #expect(newer.workers.map(\.pid) == [901])
        #expect(newer.master.reportsReloads)
        let older = try MasterReply.processes(Self.older)
        #expect(older.master == .init(pid: 800, reloads: 3, failed: nil, version: "2.4.22-1"))
        #expect(older.workers == [.init(pid: 805, reloads: 0, uptime: 1)])
        #expect(older.oldWorkers == [.init(pid: 801, reloads: 3, uptime: 9)])
    }

    @Test(arguments: [
        ("2.6.12", false), ("2.7-dev7-4827fb-69", true), ("2.10.1", true), ("3.0.0", true), ("3", false), ("", false),
        ("x.y", false), ("99999999999999999999.1", false),
    ])
    func `knows from the version whether a reload is reported`(version: String, expected: Bool) {
        let master = MasterReply.Master(pid: 1, reloads: 0, failed: 0, version: version)
        #expect(master.reportsReloads == expected)
    }

    @Test(arguments: [
        "", "\n", "220 smtp.example.com\r\n\n", "Name: HAProxy\nPid: 7\n\n", String(recorded.dropLast()),
        String(recorded.prefix(150)), header + "\n",
        header + "99999999999999999999 master 0 [failed: 0] 0d00h00m00s 2.6\n\n",
        header + "7 master 0 [failed: 0] 99999999999999999999d00h00m00s 2.6\n\n", header + "7 master 0 [failed\n\n",
        header + "-7 master 0 0d00h00m00s 2.6\n\n", header + "7 worker 0 0d00h00m00s 2.6\n\n",
        header + "7 master 0 0d00h00m00s 2.6\n# workers\nrubbish\n\n",
    ])
    func `takes nothing else for a list of processes`(reply: String) async {
        #expect(await code { _ = try MasterReply.processes(reply) } == .targetUnexpectedReply)
    }

    @Test func `names a socket that is not the master's`() async {
        let reply = "Unknown command, but maybe one of the following ones is a better match:\n  help\n\n"
        let failure = await error { _ = try MasterReply.processes(reply) }
        #expect(failure?.code == .targetUnexpectedReply)
        #expect(failure?.retry == .never)
        #expect(failure?.hint?.contains("`-S`") == true)
    }

    static let loadFailure = """
        Success=0
        --
        [NOTICE]   (482886) : haproxy version is 2.7-dev7-4827fb-69
        [ALERT]    (482886) : config : parsing [test3.cfg:1]: unknown keyword '\u{1b}[31mAglobal' out of section.
        [ALERT]    (482886) : config : Fatal errors found in configuration.
        [WARNING]  (482886) : Loading failure!

        """

    @Test func `reads what came of a reload`() throws {
        #expect(try MasterReply.reload("") == .silent)
        #expect(try MasterReply.reload("\n") == .silent)
        #expect(try MasterReply.reload("Success=1\n--\n[NOTICE]   (1) : Loading success.\n\n") == .succeeded)
        #expect(try MasterReply.reload("Success=1\n") == .succeeded)
        #expect(try MasterReply.reload("Success=0\n\n") == .failed(nil))
        #expect(try MasterReply.reload("Success=0\n--\nAnother reload is still in progress.\n\n") == .busy)
        guard case .failed(let words?) = try MasterReply.reload(Self.loadFailure) else {
            Issue.record("no words")
            return
        }
        #expect(words.hasPrefix("[ALERT]    (482886) : config : parsing [test3.cfg:1]: unknown keyword"))
        #expect(!words.contains("\u{1b}") && !words.contains("NOTICE"))
    }

    @Test(arguments: [
        ("Permission denied\n\n", CertsError.Code.targetRefused), ("Succ", .targetUnexpectedReply),
        ("Unknown command\n\n", .targetUnexpectedReply), ("Success=2\n", .targetUnexpectedReply),
    ])
    func `a refusal of a reload is an error`(reply: String, expected: CertsError.Code) async {
        #expect(await code { _ = try MasterReply.reload(reply) } == expected)
    }

    @Test func `reads levels and the state of a worker`() async throws {
        #expect(try MasterReply.mayReload("admin\n\n"))
        #expect(try MasterReply.mayReload("operator\n\n"))
        #expect(try !MasterReply.mayReload("user\n\n"))
        #expect(await code { _ = try MasterReply.mayReload("root\n\n") } == .targetUnexpectedReply)
        let text = "Name: HAProxy\nUptime_sec: 12\nCurrConns: 3\nMaxconn: 7\n\n"
        #expect(try MasterReply.workerState(text) == .alive(connections: 3, age: 12))
        #expect(try MasterReply.workerState("Name: HAProxy\n\n") == .alive(connections: nil, age: nil))
        #expect(
            try MasterReply.workerState("Can't find the target PID matching the prefix '@!29633'\n") == .gone)
        #expect(await code { _ = try MasterReply.workerState("CurrConns: 3\n") } == .targetUnexpectedReply)
    }
}
