import CertsCore

/// What HAProxy makes of the files in a certificate directory (`crt DIRECTORY`); pure.
///
/// It loads every regular file that is neither hidden nor a companion. A `server.pem.bak` becomes a certificate that is
/// served, and a `README` keeps HAProxy from starting.
enum DirectoryCensus {
    private static let companions = [".key", ".issuer", ".ocsp", ".sctl"]

    /// Whether HAProxy loads a file of this name as a certificate.
    static func isLoaded(_ file: String) -> Bool {
        !file.isEmpty && !file.hasPrefix(".") && !companions.contains { file.hasSuffix($0) }
    }

    /// The files that HAProxy would load although nobody declared them, sorted.
    static func foreign(among files: [String], expected: Set<String>) -> [String] {
        files.filter { isLoaded($0) && !expected.contains($0) }.sorted()
    }

    /// A finding `foreign-file` for each of them, the copies of expected files first; at most `limit`, and one that
    /// counts the rest.
    ///
    /// - Parameters:
    ///   - files: the names of the regular files in the directory, links to such included.
    ///   - expected: the names of the bundles that belong there.
    static func findings(directory: String, files: [String], expected: Set<String>, limit: Int = 20) -> [Finding] {
        let isCopy = { (file: String) in expected.contains { file.hasPrefix($0) } }
        let foreign = foreign(among: files, expected: expected)
        let sorted = foreign.filter(isCopy) + foreign.filter { !isCopy($0) }
        var findings = sorted.prefix(limit).map { file in
            let path = TerminalText.sanitized("\(directory)/\(file)", limit: 300)
            return Finding(
                id: "foreign-file", severity: .warning,
                message: isCopy(file)
                    ? "HAProxy loads \(path) too, which looks like a copy: it may be served instead of the certificate"
                    : "HAProxy loads \(path) too, which certs does not know; if it is no certificate, HAProxy will not start",
                remedy: "move it out of the directory, or put a dot before its name")
        }
        if foreign.count > limit {
            findings.append(
                Finding(
                    id: "foreign-file", severity: .warning,
                    message:
                        "HAProxy loads \(foreign.count - limit) more files of \(directory) that certs does not know",
                    remedy: "keep only the certificates of this `bind` in the directory"))
        }
        return findings
    }
}
