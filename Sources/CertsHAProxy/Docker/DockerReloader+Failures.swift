import CertsCore
import CertsDocker

extension DockerReloader {
    func failed(_ found: RunningContainer, _ log: ReloadLog) -> CertsError {
        CertsError(
            .targetReloadFailed,
            "HAProxy in \(found.shownName) could not load its files: \(log.reason ?? "it gives no reason")",
            hint: "mend what it says; its old process goes on serving what it has", retry: .later)
    }

    func nothingNew(_ found: RunningContainer, _ log: ReloadLog, _ limit: Duration) -> CertsError {
        CertsError(
            .targetReloadFailed,
            "HAProxy in \(found.shownName) started no new worker within \(limit) after SIG\(container.signal.rawValue)"
                + (log.reason.map { ": \($0)" } ?? ", and says nothing"),
            hint: "look at `docker logs \(found.inspection.name)`; where it only loads slowly, raise `verifyWithin`",
            retry: .later)
    }

    func didNotStart(_ found: RunningContainer, _ state: ContainerInspection.State, _ log: ReloadLog) -> CertsError {
        CertsError(
            .targetReloadFailed,
            "\(found.shownName) did not come up again after its restart (it is \(state.status), exit code "
                + "\(state.exitCode)): \(log.reason ?? "it gives no reason")",
            hint: "nothing is served until it runs: `docker logs \(found.inspection.name)`", retry: .later)
    }
}
