package import CertsCore

extension StateDirectory: WindowLocks {
    package func lockWindow() async throws -> any HeldLock {
        try await KernelLock.take(
            "the maintenance window", path: "\(path)/\(Self.windowName)", deadline: .zero, on: pool
        ) { [self] in try root.makeFolder(Self.windowName) }
    }
}
