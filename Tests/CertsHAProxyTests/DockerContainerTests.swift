import CertsDocker
import CertsTesting
import Foundation
import Testing

@testable import CertsHAProxy

/// What the processes, the mounts and the log of a container mean.
@Suite struct DockerContainerTests {
    // MARK: Processes

    private static func process(_ pid: Int, _ parent: Int, _ line: String) -> ContainerProcess {
        ContainerProcess(pid: pid, parent: parent, arguments: line.split(separator: " ").map(String.init))
    }

    private static func processes(_ all: ContainerProcess...) -> ContainerProcesses {
        ContainerProcesses(all: all, first: 10)
    }

    @Test func knowsAMasterByItsOptionOrItsWorkers() {
        let byOption = Self.processes(Self.process(10, 1, "/usr/sbin/haproxy -Ws -f a"))
        #expect(byOption.master?.pid == 10)
        let byWorker = Self.processes(
            Self.process(10, 1, "haproxy -f a"), Self.process(11, 10, "haproxy -f a"), Self.process(12, 10, "agent"))
        #expect(byWorker.master?.pid == 10)
        #expect(byWorker.master.map { byWorker.workers(of: $0).map(\.pid) } == [11])
        #expect(Self.processes(Self.process(10, 1, "haproxy -db -f -W.cfg")).master == nil)
        #expect(Self.processes().master == nil)
    }

    @Test func findsTheMasterBehindAnInitButNotBehindAShell() {
        let tree = ["/sbin/docker-init -- haproxy", "sh -c haproxy"].map { first in
            Self.processes(
                Self.process(10, 1, first), Self.process(11, 10, "haproxy -W -f a"),
                Self.process(12, 11, "haproxy -W -f a"))
        }
        #expect(tree.map { $0.master?.pid } == [11, nil])
        #expect(tree.map { $0.haproxy?.pid } == [11, 11])
    }

    @Test(
        arguments: [
            ("haproxy -W -db -f /a.cfg", nil, ["/a.cfg"]),
            ("haproxy -sf 8 9 -x sockpair@3 -W -f a.cfg -f b.cfg", nil, ["a.cfg", "b.cfg"]),
            ("haproxy -C /etc -f a -- b c", "/etc", ["a", "b", "c"]), ("haproxy -W -f", nil, []),
            ("haproxy -f -f -f b", nil, ["-f", "b"]), ("", nil, []),
        ] as [(String, String?, [String])])
    func readsWhichFilesHAProxyWasStartedWith(line: String, directory: String?, files: [String]) {
        let read = Self.process(1, 0, line).configuration
        #expect(read.directory == directory)
        #expect(read.files == files)
    }

    // MARK: Mounts

    @Test func namesAFileOfTheHostAsTheContainerDoes() throws {
        let scratch = try TemporaryDirectory(prefix: "mnt")
        let manager = FileManager.default
        try manager.createDirectory(atPath: scratch.path("certs/deep"), withIntermediateDirectories: true)
        try manager.createSymbolicLink(atPath: scratch.path("link"), withDestinationPath: scratch.path("certs"))
        try scratch.write("", to: "certs/server.pem")
        func place(_ path: String, _ mounts: (String, String)...) -> ContainerMounts.Place? {
            ContainerMounts(mounts: mounts.map { ContainerMount(source: $0.0, destination: $0.1) }).place(of: path)
        }
        let (certs, link) = (scratch.path("certs"), scratch.path("link"))
        let there = ContainerMounts.Place(path: "/c/server.pem", isSingleFile: false)
        // Either side may be a link.
        for source in [certs, link] {
            for path in [certs, link] { #expect(place("\(path)/server.pem", (source, "/c")) == there) }
        }
        // A file that is not there yet, a directory further down, the host's root, the container's root.
        #expect(place("\(certs)/new.pem", (certs, "/c"))?.path == "/c/new.pem")
        #expect(place("\(certs)/deep/new.pem", (scratch.path, "/x/y"))?.path == "/x/y/certs/deep/new.pem")
        #expect(place("\(certs)/server.pem", ("/", "/host"))?.path == "/host\(certs)/server.pem")
        #expect(place("\(certs)/server.pem", (certs, "/"))?.path == "/server.pem")
        // The file alone, also where a link was named.
        try manager.createSymbolicLink(atPath: scratch.path("alone.pem"), withDestinationPath: "\(certs)/server.pem")
        for source in ["\(certs)/server.pem", scratch.path("alone.pem")] {
            #expect(place("\(certs)/server.pem", (source, "/a.pem")) == .init(path: "/a.pem", isSingleFile: true))
        }
        // Nothing, a name that only begins the same, and what has no source.
        #expect(place("\(certs)/server.pem") == nil)
        #expect(place("\(certs)/server.pem", (scratch.path("cert"), "/c"), ("", "/certs")) == nil)
    }

    @Test func seesWhatOneMountHidesFromAnother() throws {
        let scratch = try TemporaryDirectory(prefix: "mnt")
        try FileManager.default.createDirectory(atPath: scratch.path("certs"), withIntermediateDirectories: true)
        let path = try scratch.write("", to: "certs/server.pem")
        func place(_ hiding: ContainerMount) -> ContainerMounts.Place? {
            ContainerMounts(mounts: [ContainerMount(source: scratch.path("certs"), destination: "/c"), hiding])
                .place(of: path)
        }
        #expect(place(ContainerMount(source: path, destination: "/c/server.pem"))?.isSingleFile == true)
        #expect(place(ContainerMount(source: "/dev/null", destination: "/c/server.pem")) == nil)
        #expect(place(ContainerMount(type: "tmpfs", source: "", destination: "/c/server.pe"))?.path == "/c/server.pem")
    }

    // MARK: The log

    @Test(arguments: [
        ("", ReloadLog.Progress.silent), ("[NOTICE]   (1) : Reloading HAProxy\r\n", .begun),
        (
            "[NOTICE]   (1) : Reloading HAProxy\n[WARNING]  (8) : Proxy f stopped\n[NOTICE]   (1) : Loading success.\n",
            .loaded
        ),
        ("[NOTICE]   (1) : Reloading HAProxy\n[ALERT]    (1) : no\n[WARNING]  (1) : Loading failure!\n", .failed),
        // The end of a reload that was begun before.
        ("[NOTICE]   (1) : Loading success.\n", .foreign), ("[WARNING]  (1) : Loading failure!\n", .foreign),
        ("[NOTICE] (1) : Loading success.\n[NOTICE] (1) : Reloading HAProxy\n", .begun),
        ("GET /?q=Loading%20success. HTTP/1.1\n", .silent),
    ])
    func readsHowFarAReloadIs(text: String, progress: ReloadLog.Progress) {
        #expect(ReloadLog(text).progress == progress)
    }

    @Test func tellsTheAlertsAndNothingThatATerminalWouldObey() {
        let text = "[NOTICE] (1) : version\n[ALERT] (1) : \u{1b}[31mbad\n[WARNING] (1) : Loading failure!\n"
        #expect(ReloadLog(text).reason == "[ALERT] (1) : \\u{1b}[31mbad")
        #expect(ReloadLog("a\nb").reason == "a | b")
        #expect(ReloadLog("").reason == nil)
    }
}
