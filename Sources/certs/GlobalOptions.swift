import ArgumentParser
import CertsCore
import Foundation
import Logging

/// The options that every command takes, before or after its name.
struct GlobalOptions: ParsableArguments {
    @Option(
        name: .long, help: "The configuration file. [default: $CERTS_CONFIG, Certs/certs.yml, /etc/certs/certs.yml]",
        completion: .file())
    var config: String?

    @Option(
        name: .long, help: "How much to log on stderr: trace, debug, info, notice, warning or error.",
        transform: { word in
            guard let level = Logger.Level(rawValue: word) else { throw ValidationError("'\(word)' is no log level") }
            return level
        })
    var logLevel: Logger.Level?

    @Option(
        name: .long,
        help: "How stderr is written: text, json (one object a line), or auto: text on a terminal, else json.")
    var logFormat: LogFormat = .auto

    /// The file to read: the first that is named or exists.
    var configurationPath: String { Self.configurationPath(config) }

    static func configurationPath(_ named: String?) -> String {
        if let named { return named }
        if let fromEnvironment = ProcessInfo.processInfo.environment["CERTS_CONFIG"] { return fromEnvironment }
        let local = "Certs/certs.yml"
        return FileManager.default.fileExists(atPath: local) ? local : "/etc/certs/certs.yml"
    }

    func logger(default level: Logger.Level = .error) -> Logger {
        var logger = Logger(label: "certs") { label -> any LogHandler in
            if logFormat.isJSON { JSONLogHandler() } else { StreamLogHandler.standardError(label: label) }
        }
        logger.logLevel = logLevel ?? level
        return logger
    }
}
