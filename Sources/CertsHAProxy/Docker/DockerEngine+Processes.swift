import CertsCore
import CertsDocker
import CertsHTTP

extension DockerEngine {
    /// The processes of a running container, with the pids of the engine's host.
    func processes(of container: String) async throws(CertsError) -> [ContainerProcess] {
        let table: ProcessTable = try await fetch(
            .get, ["containers", container, "top"], query: [("ps_args", ProcessTable.columns)])
        return try table.decoded()
    }

    /// Sends a signal to process 1 of the container; says nothing of what becomes of it.
    func kill(_ container: String, _ signal: ReloadSignal) async throws(CertsError) {
        _ = try await send(.post, ["containers", container, "kill"], query: [("signal", signal.rawValue)])
    }
}
