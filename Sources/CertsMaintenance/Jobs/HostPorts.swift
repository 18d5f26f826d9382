package import CertsCore

/// What jobs on this host need beside the engine and programs.
package struct HostPorts: Sendable {
    package let files: any MaintenanceFiles
    package let live: any LiveFiles

    package init(files: any MaintenanceFiles, live: any LiveFiles) {
        self.files = files
        self.live = live
    }

    func work(_ job: HostJob) -> any HostWork {
        switch job {
        case .cleanUpDocker(let work): DockerCleanUpWork(work: work, files: files)
        case .rotateLogs(let work): LogRotationWork(work: work, files: files)
        case .deleteFiles(let work): FileCleanUpWork(work: work)
        case .reportUpdates(let work): UpdateWork(work: work)
        case .recordDeployments(let work): DeploymentWork(work: work, files: files)
        case .keepVersions(let work): FileVersionWork(work: work, files: files, live: live)
        }
    }
}
