import CertsCore

/// The replies about lists, and about certificates that come and go while HAProxy runs.
extension RuntimeReply {
    /// One line of `show ssl crt-list -n LIST`.
    struct CrtListEntry: Sendable, Equatable {
        /// The certificate, as `show ssl cert` names it.
        var name: String
        /// From 1; 0 for what was loaded from a directory.
        var line: Int
        /// Options and filters as HAProxy prints them: in its own order, an `alpn` without its NUL.
        var text: String
        var filters: [String]
    }

    /// `set ssl ocsp-response`, where HAProxy understood the payload.
    enum StapleOutcome: Sendable, Equatable {
        case updated
        /// No certificate in memory has the issuer and serial of the response.
        case noSuchCertificate
    }

    /// `show ssl crt-list`: files and directories; a directory has no slash at its end.
    static func lists(_ reply: String) throws(CertsError) -> [String] {
        try lines(of: reply).map(String.init)
    }

    /// `show ssl crt-list -n LIST`.
    static func entries(_ reply: String, of list: StoreName) throws(CertsError) -> [CrtListEntry] {
        let command = "show ssl crt-list -n \(list)"
        let lines = try lines(of: reply)
        guard let heading = lines.first, heading.hasPrefix("# ") else {
            if lines == ["didn't find the specified filename"] { throw noSuchList(list) }
            throw unexpected(command, reply)
        }
        var entries: [CrtListEntry] = []
        entries.reserveCapacity(lines.count)
        for line in lines.dropFirst() {
            guard let entry = entry(line) else { throw unexpected(command, reply) }
            entries.append(entry)
        }
        return entries
    }

    private static func entry(_ line: Substring) -> CrtListEntry? {
        let first = line.prefix { $0 != " " }
        // The name may have colons of its own, the number has none.
        guard let colon = first.lastIndex(of: ":"), colon > first.startIndex,
            let number = Int(first[first.index(after: colon)...]), number >= 0
        else { return nil }
        // HAProxy 2.6 prints the NUL that ends its list of protocols.
        let text = String(line[first.endIndex...].drop { $0 == " " }.filter { $0 != "\0" })
        let terms = text.hasPrefix("[") ? text.drop { $0 != "]" }.dropFirst() : text[...]
        return CrtListEntry(
            name: String(first[..<colon]), line: number, text: text,
            filters: terms.split(separator: " ").map(String.init))
    }

    static func noSuchList(_ list: StoreName) -> CertsError {
        CertsError(
            .targetNotReferenced, "HAProxy has no crt-list and no certificate directory called \(list)",
            subject: list.rawValue,
            hint:
                "a `bind` takes a new certificate only through `crt-list FILE` or `crt DIRECTORY`: write one of them in "
                + "HAProxy's configuration and reload it; a `bind` with `crt FILE` cannot grow while it runs")
    }

    // MARK: Changes

    /// `new ssl cert NAME`.
    /// - Returns: whether it was made; `false`: there is one already.
    static func new(_ reply: String, name: StoreName) throws(CertsError) -> Bool {
        let command = "new ssl cert \(name)"
        let lines = try lines(of: reply)
        if lines == ["New empty certificate store '\(name)'!"] { return true }
        if lines == ["Certificate '\(name)' already exists!"] { return false }
        throw refusal(command, lines) ?? unexpected(command, reply)
    }

    /// `del ssl cert NAME`.
    /// - Returns: whether it was deleted; `false`: there is none.
    static func delete(_ reply: String, name: StoreName) throws(CertsError) -> Bool {
        let command = "del ssl cert \(name)"
        // A refusal is followed by one more empty line.
        let lines = try lines(of: reply).filter { !$0.isEmpty }
        if lines == ["Certificate '\(name)' deleted!"] { return true }
        if lines == ["Can't remove the certificate: certificate '\(name)' doesn't exist!"] { return false }
        if lines == ["Can't remove the certificate: certificate '\(name)' in use, can't be deleted!"] {
            throw CertsError(
                .targetRefused, "HAProxy still uses \(name)", subject: name.rawValue,
                hint: "take it out of every crt-list first: `show ssl crt-list` names them")
        }
        if lines == ["Can't remove the certificate: ongoing transaction for the certificate '\(name)'"] {
            throw CertsError(
                .targetForeignTransaction, "another client has a transaction open in HAProxy, for \(name)",
                subject: name.rawValue, hint: "end it with `abort ssl cert \(name)`; then run again", retry: .later)
        }
        throw refusal(command, lines) ?? unexpected(command, reply)
    }

    /// `add ssl crt-list LIST NAME`, in both forms.
    /// - Returns: in how many `bind`s it is served from now on.
    static func add(_ reply: String, name: StoreName, to list: StoreName) throws(CertsError) -> Int {
        let command = "add ssl crt-list \(list) \(name)"
        let lines = try lines(of: reply).filter { !$0.isEmpty }
        // The path of the list has dots of its own, inside of the quotes.
        let opening = "Inserting certificate '\(name)' in crt-list '\(list)'"
        if lines.count == 2, lines[0].hasPrefix(opening), lines[1] == "Success!" {
            let dots = lines[0].dropFirst(opening.count)
            if dots.allSatisfy({ $0 == "." }) { return dots.count }
        }
        if lines.contains(where: { $0.hasSuffix("crt-list '\(list)' does not exist!") }) { throw noSuchList(list) }
        if let first = lines.first, first.hasPrefix("Can't edit the crt-list: ") {
            throw CertsError(
                .targetRefused, "HAProxy does not take \(name) into \(list): \(quote(lines))", subject: name.rawValue,
                hint: first.contains("must contain the directory path")
                    ? "a bundle of a certificate directory lies in that directory: name it \(list)/FILE.pem"
                    : "correct the options and filters of this certificate's line as HAProxy's manual has them for `crt-list`"
            )
        }
        throw refusal(command, lines) ?? unexpected(command, reply)
    }

    /// `del ssl crt-list LIST NAME`.
    /// - Returns: whether the entry was deleted; `false`: there is none.
    static func remove(_ reply: String, name: StoreName, from list: StoreName) throws(CertsError) -> Bool {
        let command = "del ssl crt-list \(list) \(name)"
        let lines = try lines(of: reply).filter { !$0.isEmpty }
        if lines == ["Entry '\(name)' deleted in crtlist '\(list)'!"] { return true }
        if lines == ["Can't delete the entry: certificate '\(name)' can't be found in crt-list '\(list)'!"] {
            return false
        }
        if lines.contains(where: { $0.hasSuffix("crt-list '\(list)' does not exist!") }) { throw noSuchList(list) }
        if let first = lines.first, first.contains(" is used as default certificate ") {
            throw CertsError(
                .targetRefused,
                "HAProxy serves \(name) where a client names no server: it cannot be taken out of \(list)",
                subject: name.rawValue,
                hint: "put another certificate first in \(list), reload HAProxy, then run again")
        }
        throw refusal(command, lines) ?? unexpected(command, reply)
    }

    /// `set ssl ocsp-response`.
    static func staple(_ reply: String) throws(CertsError) -> StapleOutcome {
        let command = "set ssl ocsp-response"
        let lines = try lines(of: reply).filter { !$0.isEmpty }
        if lines == ["OCSP Response updated!"] { return .updated }
        if lines == ["OCSP single response: Certificate ID does not match any certificate or issuer."] {
            return .noSuchCertificate
        }
        if let first = lines.first, ["OCSP ", "Unable to ", "'set ssl ocsp-response'"].contains(where: first.hasPrefix)
        {
            throw CertsError(
                .targetRefused,
                "HAProxy refused the OCSP response: \(TerminalText.sanitized(String(first), limit: 300))",
                hint: "fetch a new response from the issuer's responder")
        }
        throw refusal(command, lines) ?? unexpected(command, reply)
    }
}
