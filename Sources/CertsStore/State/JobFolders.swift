package import CertsCore

extension StateDirectory: JobLocks {
    package func lock(job: Name) async throws -> any HeldLock {
        try await KernelLock.take(
            "the job \(job)", path: "\(path)/\(Self.jobsName)/\(job)", deadline: .zero, on: pool
        ) { [self] in try root.makeFolder(Self.jobsName).makeFolder(job.rawValue) }
    }
}
