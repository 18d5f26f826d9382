import CertsCore
import Foundation

/// The replies of the runtime API, read from their text; pure. Every reply ends with an empty line: one that does not
/// was cut off, and says nothing.
enum RuntimeReply {
    /// `show ssl cert`.
    struct CertificateList: Sendable, Equatable {
        /// The certificate that a transaction is open for; HAProxy has one per process, and it has no owner.
        var openTransaction: String?
        var names: [String] = []
    }

    /// `show ssl cert NAME`.
    struct StoredCertificate: Sendable, Equatable {
        /// `Used`, `Unused`, `Empty`.
        var status: String
        /// Lower-case hexadecimal, without leading zeros; empty where the store is empty.
        var serial: String
        /// Lower-case hexadecimal.
        var sha1: String
    }

    /// `set ssl cert NAME`, where HAProxy took the payload.
    enum SetOutcome: Sendable, Equatable {
        case created
        /// A transaction was open already; it now has our payload, whatever its name.
        case updated(String)
    }

    /// `abort ssl cert NAME`.
    enum AbortOutcome: Sendable, Equatable {
        case aborted, nothingOpen
        case other(String)
    }

    /// `show info`.
    struct Process: Sendable, Equatable {
        var version: String
        var pid: Int
        /// A process that was told to end: what is committed in it is lost.
        var isStopping: Bool
        /// When it was started; to the microsecond where it was asked for (`show info float`).
        var startedAt: Date?
        /// In seconds; `nil`: it does not tell.
        var uptime: TimeInterval?

        /// The time by its clock, to a second or two; `nil`: it does not tell.
        var now: Date? { startedAt.flatMap { start in uptime.map { start.addingTimeInterval($0) } } }

        /// `[2, 6]` of `2.6.12-1+deb12u4`; `nil`: not to be read.
        var release: [Int]? {
            let parts = version.split(separator: ".").prefix(2).map { Int($0) }
            return parts.count == 2 ? parts.compactMap { $0 } : nil
        }
    }

    static func certificateList(_ reply: String) throws(CertsError) -> CertificateList {
        let lines = try lines(of: reply)
        var list = CertificateList()
        var section: Substring?
        for line in lines {
            if line == "# transaction" || line == "# filename" {
                section = line
            } else if section == "# filename" {
                list.names.append(String(line))
            } else if section == "# transaction", line.hasPrefix("*"), line.utf8.count > 1 {
                list.openTransaction = String(line.dropFirst())
            } else {
                throw unexpected("show ssl cert", reply)
            }
        }
        guard section == "# filename" || (section == nil && lines.isEmpty) else {
            throw unexpected("show ssl cert", reply)
        }
        return list
    }

    /// - Parameter pending: the reply is about the open transaction, `*NAME`.
    /// - Returns: `nil` when there is no such certificate or transaction.
    static func storedCertificate(_ reply: String, name: StoreName, pending: Bool) throws(CertsError)
        -> StoredCertificate?
    {
        let command = "show ssl cert \(pending ? "*" : "")\(name)"
        if isCutShort(reply) { throw ShownText.cannotBeAsked(name.rawValue) }
        let lines = try lines(of: reply)
        if lines.isEmpty || lines[0].hasPrefix("Can't display the certificate: Not found") { return nil }
        var fields: [Substring: Substring] = [:]
        for line in lines {
            guard let colon = line.firstIndex(of: ":") else { throw unexpected(command, reply) }
            let key = line[..<colon]
            let value = line[line.index(after: colon)...].drop { $0 == " " }
            if fields[key] == nil { fields[key] = value }
        }
        guard let filename = fields["Filename"], filename == (pending ? "*" : "") + name.rawValue,
            let status = fields["Status"]
        else { throw unexpected(command, reply) }
        let digits = (fields["SHA1 FingerPrint"] ?? "").lowercased()
        guard digits.isEmpty || Hex.decode(digits)?.count == 20, !(digits.isEmpty && status != "Empty") else {
            throw unexpected(command, reply)
        }
        return StoredCertificate(status: String(status), serial: serial(String(fields["Serial"] ?? "")), sha1: digits)
    }

    static func set(_ reply: String, name: StoreName) throws(CertsError) -> SetOutcome {
        let command = "set ssl cert \(name)"
        let lines = try lines(of: reply)
        if lines.count == 1, lines[0] == "Transaction created for certificate \(name)!" { return .created }
        if lines.count == 1, let other = between("Transaction updated for certificate ", "!", lines[0]) {
            return .updated(other)
        }
        if lines.contains(where: { $0.hasPrefix("Can't replace a certificate which is not referenced") }) {
            throw CertsError(
                .targetNotReferenced, "HAProxy has no certificate that is called \(name) and can be replaced",
                subject: name.rawValue,
                hint: "name exactly this path after `crt` in HAProxy's configuration; the file's name must end in .pem")
        }
        throw refusal(command, lines) ?? unexpected(command, reply)
    }

    /// - Returns: how many instances (`bind` and `crt-list` lines) were rebuilt with the new certificate.
    static func commit(_ reply: String, name: StoreName) throws(CertsError) -> Int {
        let command = "commit ssl cert \(name)"
        let lines = try lines(of: reply)
        let opening = "Committing \(name)"
        // The name has dots of its own: it is taken away before the dots are counted.
        if lines.count == 2, lines[0].hasPrefix(opening), lines[1] == "Success!" {
            let dots = lines[0].dropFirst(opening.count)
            if dots.allSatisfy({ $0 == "." }) { return dots.count }
        }
        throw refusal(command, lines) ?? unexpected(command, reply)
    }

    static func abort(_ reply: String, name: StoreName) throws(CertsError) -> AbortOutcome {
        let command = "abort ssl cert \(name)"
        let lines = try lines(of: reply)
        guard lines.count == 1 else { throw refusal(command, lines) ?? unexpected(command, reply) }
        if lines[0] == "Transaction aborted for certificate '\(name)'!" { return .aborted }
        if lines[0] == "No ongoing transaction!" { return .nothingOpen }
        if lines[0].hasSuffix(" but you are trying to abort a transaction for '\(name)'"),
            let other = between("The ongoing transaction is about '", "' but you are trying", lines[0])
        {
            return .other(other)
        }
        throw refusal(command, lines) ?? unexpected(command, reply)
    }

    static func process(_ reply: String) throws(CertsError) -> Process {
        var fields: [Substring: Substring] = [:]
        for line in try lines(of: reply) {
            guard let colon = line.firstIndex(of: ":") else { continue }
            fields[line[..<colon]] = line[line.index(after: colon)...].drop { $0 == " " }
        }
        guard let version = fields["Version"], let pid = fields["Pid"].flatMap({ Int($0) }), pid > 0 else {
            throw unexpected("show info", reply)
        }
        return Process(
            version: String(version), pid: pid, isStopping: (fields["Stopping"] ?? "0") != "0",
            startedAt: fields["Start_time_sec"].flatMap { Double($0) }.map { Date(timeIntervalSince1970: $0) },
            uptime: fields["Uptime_sec"].flatMap { Double($0) })
    }

    /// A serial as HAProxy or a record writes it, in one form.
    static func serial(_ text: String) -> String {
        String(text.lowercased().drop { $0 == "0" || $0 == "-" })
    }
}

// MARK: - Reading

extension RuntimeReply {
    /// The lines of a complete reply, without the empty one at its end.
    static func lines(of reply: String) throws(CertsError) -> [Substring] {
        if reply == "\n" { return [] }
        guard reply.utf8.suffix(2).elementsEqual("\n\n".utf8) else {
            throw CertsError(
                .targetUnexpectedReply,
                reply.isEmpty ? "HAProxy closed the connection without a reply" : "HAProxy's reply was cut off",
                hint: "look at HAProxy's log; the state of the command is not known", retry: .later)
        }
        let lines = reply.dropLast(2).split(separator: "\n", omittingEmptySubsequences: false)
        if let first = lines.first, first == "Permission denied" || first.hasPrefix("Can't allocate memory") {
            throw CertsError(
                .targetRefused, "HAProxy refused: permission denied", hint: "its `stats socket` needs `level admin`")
        }
        return lines
    }

    private static func between(_ opening: String, _ closing: String, _ line: Substring) -> String? {
        guard line.hasPrefix(opening) else { return nil }
        let rest = line.dropFirst(opening.count)
        if closing == "!" { return rest.hasSuffix("!") ? String(rest.dropLast()) : nil }
        var index = rest.startIndex
        while index < rest.endIndex {
            if rest[index...].hasPrefix(closing) { return String(rest[..<index]) }
            index = rest.index(after: index)
        }
        return nil
    }

    /// Whether HAProxy did nothing because somebody else is at its certificates.
    static func isLocked(_ reply: String) -> Bool {
        reply.utf8.count < 1024 && reply.contains("Operations on certificates are currently locked!")
    }

    /// What HAProxy says when it understood the command and will not do it.
    static func refusal(_ command: String, _ lines: [Substring]) -> CertsError? {
        let words = [
            "Can't ", "unable to ", "inconsistencies ", "No ongoing", "The transaction must", "The ongoing",
            "Operations on",
            "Failed!", "Committing ",
        ]
        guard lines.contains(where: { line in words.contains { line.hasPrefix($0) } }) else { return nil }
        let isLocked = isLocked(lines.joined(separator: "\n"))
        return CertsError(
            .targetRefused, "HAProxy refused '\(command)': \(quote(lines))",
            hint: isLocked
                ? "another client updates certificates; it is tried again" : "look at the bundle with `certs inspect`",
            retry: isLocked ? .later : .never)
    }

    static func unexpected(_ command: String, _ reply: String) -> CertsError {
        let lines = reply.split(separator: "\n", omittingEmptySubsequences: true)
        return CertsError(
            .targetUnexpectedReply, "HAProxy answered '\(command)' with '\(quote(lines))'",
            hint: "check that the socket is HAProxy's `stats socket` and that HAProxy is 2.2 or later")
    }

    static func quote(_ lines: [Substring]) -> String {
        // A line that HAProxy does not know is echoed, and a payload that was taken for commands has lines of a key.
        if lines.contains(where: { $0.hasPrefix("Unknown command") }) { return "Unknown command" }
        return TerminalText.sanitized(lines.prefix(4).joined(separator: " "), limit: 300)
    }
}
