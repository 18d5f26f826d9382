import CertsCore
import Foundation

/// Which files the processes of this host have open: a deleted file that is open frees no space, and its writer writes on
/// into nowhere.
struct OpenFiles {
    struct Identity: Hashable {
        let device: UInt64
        let number: UInt64

        init(_ status: stat) {
            device = UInt64(status.st_dev)
            number = UInt64(status.st_ino)
        }
    }

    private(set) var identities: Set<Identity> = []
    /// Processes whose files this one may not see.
    private(set) var hidden = 0

    /// Looks at `/proc`. Blocking.
    ///
    /// - Parameter root: what lies elsewhere does not matter.
    static func look(_ proc: String = "/proc", below root: String) -> OpenFiles {
        var result = OpenFiles()
        let names = (try? FileManager.default.contentsOfDirectory(atPath: proc)) ?? []
        let processes = names.filter { !$0.isEmpty && $0.allSatisfy(\.isNumber) }
        // Where /proc hides the processes of others (hidepid), not even the first is there.
        if !processes.contains("1") { result.hidden += 1 }
        for process in processes { result.look(at: "\(proc)/\(process)/fd", below: root) }
        return result
    }

    private mutating func look(at directory: String, below root: String) {
        guard let stream = opendir(directory) else {
            // ENOENT: it has ended.
            if errno != ENOENT, errno != ESRCH { hidden += 1 }
            return
        }
        defer { closedir(stream) }
        let descriptor = dirfd(stream)
        errno = 0
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.hasPrefix(".") { continue }
            var status = stat()
            // The entry leads to the file itself, whatever has become of its name.
            if fstatat(descriptor, name, &status, 0) == 0 {
                if status.st_mode & S_IFMT == S_IFREG { identities.insert(Identity(status)) }
            } else if errno == EACCES || errno == EPERM, !Self.isElsewhere(name, in: descriptor, than: root) {
                hidden += 1
            }
            errno = 0
        }
        if errno != 0, errno != ENOENT, errno != ESRCH { hidden += 1 }
    }

    /// A file system of another user (FUSE) tells nothing of its files but their names.
    private static func isElsewhere(_ name: String, in directory: CInt, than root: String) -> Bool {
        var space = [CChar](repeating: 0, count: 4096)
        let count = readlinkat(directory, name, &space, space.count)
        guard count > 0, count < space.count else { return false }
        let path = String(decoding: space[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return path.path(below: root) == nil
    }
}
