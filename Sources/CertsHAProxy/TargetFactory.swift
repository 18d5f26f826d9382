package import CertsCore
package import Logging

/// Makes the adapter of a declared target; the reload method decides which.
package enum TargetFactory {
    /// - Parameters:
    ///   - files: the files outside of the state directory, see ``LiveFiles``.
    ///   - prober: shared by all targets.
    package static func make(
        _ declaration: TargetDeclaration, files: any LiveFiles, prober: any Prober, logger: Logger
    ) -> any DeploymentTarget {
        make(declaration, files: files, proof: EndpointProof(prober: prober), limits: TargetLimits(), logger: logger)
    }

    static func make(
        _ declaration: TargetDeclaration, files: any LiveFiles, proof: EndpointProof, limits: TargetLimits,
        logger: Logger
    ) -> any DeploymentTarget {
        var logger = logger
        logger[metadataKey: "target"] = "\(declaration.name)"
        return switch declaration.reload {
        case .runtime(let socket):
            RuntimeTarget(declaration, socket: socket, files: files, proof: proof, limits: limits, logger: logger)
        case .signal(let pidFile, let signal):
            ReloadTarget(
                declaration, reloader: SignalReloader(pidFile: pidFile, signal: signal, files: files), files: files,
                proof: proof,
                limits: limits, logger: logger)
        case .command(let command):
            ReloadTarget(
                declaration, reloader: CommandReloader(command: command), files: files, proof: proof, limits: limits,
                logger: logger)
        }
    }
}
