package import CertsCore
package import Logging

/// Makes the adapter of a declared node; the reload method decides which.
package enum TargetFactory {
    /// - Parameters:
    ///   - files: the files outside of the state directory, see ``LiveFiles``.
    ///   - prober: shared by all targets.
    package static func make(
        _ node: NodeDeclaration, files: any LiveFiles, prober: any Prober, logger: Logger
    ) -> any DeploymentTarget {
        make(node, files: files, proof: EndpointProof(prober: prober), limits: TargetLimits(), logger: logger)
    }

    static func make(
        _ node: NodeDeclaration, files: any LiveFiles, proof: EndpointProof, limits: TargetLimits, logger: Logger
    ) -> any DeploymentTarget {
        var logger = logger
        logger[metadataKey: "target"] = "\(node.id)"
        if let reloader = reloader(node.reload, files: files) {
            return ReloadTarget(
                node, method: node.reload, reloader: reloader, files: files, proof: proof, limits: limits,
                logger: logger)
        }
        let hot = RuntimeTarget(node, files: files, proof: proof, limits: limits, logger: logger)
        guard let method = node.fallback, let reloader = reloader(method, files: files) else { return hot }
        let cold = ReloadTarget(
            node, method: method, reloader: reloader, files: files, proof: proof, limits: limits, logger: logger,
            leaves: hot.leaves)
        return FallbackTarget(hot: hot, cold: cold)
    }

    /// `nil` for the runtime API, which does not reload.
    private static func reloader(_ method: ReloadMethod, files: any LiveFiles) -> (any Reloader)? {
        switch method {
        case .runtime: nil
        case .master(let socket): MasterReloader(socket: socket)
        case .docker(let container): DockerReloader(container: container)
        case .systemd(let unit): SystemdReloader(unit: unit)
        case .signal(let pidFile, let signal): SignalReloader(pidFile: pidFile, signal: signal, files: files)
        case .command(let command): CommandReloader(command: command)
        }
    }
}
