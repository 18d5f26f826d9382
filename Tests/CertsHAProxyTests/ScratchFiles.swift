import CertsCore
import Foundation
import Synchronization

/// The files of a test's own directory, with a disk that can be made full.
final class ScratchFiles: LiveFiles {
    private let full = Mutex(false)
    private let log = Mutex<[String]>([])
    private let rest = Mutex(Duration.zero)

    /// Every change that was made, by the last part of its path: `install server.pem`, `remove server.pem.ocsp`.
    var changes: [String] { log.withLock { $0 } }

    /// How long each reading takes: what races with it has its chance.
    var pause: Duration {
        get { rest.withLock { $0 } }
        set { rest.withLock { $0 = newValue } }
    }

    private func record(_ change: String, _ path: String) {
        log.withLock { $0.append("\(change) \(path.split(separator: "/").last ?? "")") }
    }

    /// While set, every write fails as on a full disk.
    var isFull: Bool {
        get { full.withLock { $0 } }
        set { full.withLock { $0 = newValue } }
    }

    func read(_ path: String, limit: Int) async throws -> LiveFile? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        let contents = try Data(contentsOf: URL(filePath: path))
        guard contents.count <= limit else { throw CertsError(.fileTooLarge, "\(path) is too large") }
        if pause > .zero { try await Task.sleep(for: pause) }
        return LiveFile(
            contents: Secret(copying: contents),
            attributes: FileAttributes(mode: status.st_mode & 0o7777, owner: status.st_uid, group: status.st_gid))
    }

    func install(_ contents: Secret, at path: String, attributes: FileAttributes?) async throws {
        guard !isFull else {
            throw CertsError(.fileUnwritable, "cannot write \(path): No space left on device", retry: .later)
        }
        let directory = path[..<(path.lastIndex(of: "/") ?? path.startIndex)]
        let temporary = "\(directory)/.\(path.split(separator: "/").last ?? "file").tmp"
        try contents.withBytes { Data($0) }.write(to: URL(filePath: temporary))
        let existing = try await read(path, limit: 1 << 20)
        let mode = attributes?.mode ?? existing?.attributes.mode ?? 0o600
        guard chmod(temporary, mode) == 0, rename(temporary, path) == 0 else {
            throw CertsError(.fileUnwritable, "cannot write \(path)")
        }
        record("install", path)
    }

    func remove(_ path: String) async throws {
        unlink(path)
        record("remove", path)
    }

    func removeEntry(_ path: String) async throws { unlink(path) }

    func names(in directory: String) async throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: directory).filter { name in
            var status = stat()
            return stat("\(directory)/\(name)", &status) == 0 && status.st_mode & S_IFMT == S_IFREG
        }
    }

    func lockDirectory(_ path: String, deadline: Duration) async throws -> any HeldLock {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw CertsError(.fileMissing, "there is no directory \(path)") }
        let end = ContinuousClock.now + deadline
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            guard ContinuousClock.now < end else {
                close(descriptor)
                throw CertsError(.lockHeld, "\(path) is locked by another process", retry: .later)
            }
            try await Task.sleep(for: .milliseconds(2))
        }
        return Flock(descriptor)
    }

    private final class Flock: HeldLock {
        private let descriptor: Mutex<Int32?>
        init(_ descriptor: Int32) { self.descriptor = Mutex(descriptor) }
        deinit { release() }
        func release() {
            descriptor.withLock { held in
                if let held { close(held) }
                held = nil
            }
        }
    }
}
