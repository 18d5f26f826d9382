import CertsCore
import CertsStore
import Foundation
import Testing

@Suite(.timeLimit(.minutes(15))) struct `Locks` {
    let place: TemporaryDirectory
    let state: StateDirectory
    let name: Name

    init() async throws {
        place = try TemporaryDirectory()
        state = try await place.state()
        name = try Name("messenger")
    }

    @Test func `exclude two tasks of one process, and leave no file behind`() async throws {
        let first = try await state.lock(name)
        let error = await failure { _ = try await state.lock(name) }
        #expect(error?.code == .lockHeld)
        #expect(error?.hint?.isEmpty == false)
        _ = try await state.lock(try Name("other"))
        first.release()
        first.release()
        let second = try await state.lock(name)
        #expect(try entries("\(state.path)/live/messenger") == [])
        second.release()
    }

    @Test func `are freed when their value is released`() async throws {
        do {
            let held = try await state.lock(name)
            _ = held
        }
        _ = try await state.lock(name)
    }

    @Test func `are freed by the kernel when the process that holds them is killed`() async throws {
        try await state.lock(name).release()
        let holder = try LockHolder(directory: "\(state.path)/live/messenger")
        let error = await failure { _ = try await state.lock(name) }
        #expect(error?.code == .lockHeld)
        holder.die()
        _ = try await state.lock(name)
    }

    @Test func `are not inherited by a child that outlives them`() async throws {
        let held = try await state.lock(name)
        let child = Process()
        child.executableURL = URL(fileURLWithPath: "/bin/sleep")
        child.arguments = ["60"]
        try child.run()
        held.release()
        _ = try await state.lock(name)
        #expect(child.isRunning)
        kill(child.processIdentifier, SIGKILL)
        child.waitUntilExit()
    }

    @Test func `of a directory that was replaced are locks of the new one`() async throws {
        let held = try await state.lock(name)
        rename("\(state.path)/live/messenger", "\(state.path)/live/moved")
        let other = try await state.lock(name)
        other.release()
        held.release()
    }

    @Test func `of a directory wait until their deadline`() async throws {
        let files = state.liveFiles
        let held = try await files.lockDirectory(place.path, deadline: .zero)
        let clock = ContinuousClock()
        let waited = await clock.measure {
            let error = await failure { _ = try await files.lockDirectory(place.path, deadline: .milliseconds(60)) }
            #expect(error?.code == .lockHeld)
        }
        #expect(waited >= .milliseconds(60))
        async let second = files.lockDirectory(place.path, deadline: .seconds(20))
        held.release()
        try await second.release()
    }

    @Test func `end their wait when the task is cancelled`() async throws {
        let held = try await state.lock(name, in: .authorities, deadline: .zero)
        let waiting = Task { try await state.lock(name, in: .authorities, deadline: .seconds(50)) }
        waiting.cancel()
        let error = await failure { _ = try await waiting.value }
        #expect(error?.code == .cancelled)
        held.release()
    }

    @Test func `let one task at a time into the making of a local CA`() async throws {
        let made = try await withThrowingTaskGroup(of: Bool.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    let lock = try await state.lock(name, in: .authorities, deadline: .seconds(30))
                    defer { lock.release() }
                    if try await state.read("root.pem", of: name, in: .authorities) != nil { return false }
                    try await state.write(Secret("root"), to: "root.pem", of: name, in: .authorities)
                    return true
                }
            }
            return try await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
        }
        #expect(made == 1)
    }

    @Test func `of a missing directory say so`() async throws {
        let error = await failure { _ = try await state.liveFiles.lockDirectory(place / "none", deadline: .seconds(5)) }
        #expect(error?.code == .fileMissing)
    }
}
