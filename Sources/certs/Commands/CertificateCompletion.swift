import ArgumentParser
import CertsCore

/// The names that a shell offers where a command takes a certificate: those that the configuration declares.
enum CertificateCompletion {
    /// - Parameter words: the command line until now.
    /// - Returns: nothing where there is no valid configuration; a shell must not show errors while somebody types.
    static func names(_ words: [String]) -> [String] {
        let path = GlobalOptions.configurationPath(configuration(in: words))
        guard let declarations = try? ConfigurationFile.load(path: path) else { return [] }
        return declarations.certificates.map(\.name.rawValue)
    }

    /// The value of `--config FILE` or `--config=FILE`.
    static func configuration(in words: [String]) -> String? {
        for (place, word) in words.enumerated().reversed() {
            if word.hasPrefix("--config=") { return String(word.dropFirst("--config=".count)) }
            // Some shells take `--config=FILE` apart.
            let rest = words.dropFirst(place + 1).drop { $0 == "=" }
            if word == "--config", let value = rest.first { return value }
        }
        return nil
    }
}

extension CompletionKind {
    /// The declared certificates.
    static var certificates: CompletionKind {
        .custom { words, _, _ in CertificateCompletion.names(words) }
    }
}
