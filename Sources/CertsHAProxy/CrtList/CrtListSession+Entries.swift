import CertsCore
import Logging

extension CrtListSession {
    /// Lets HAProxy serve the certificate through `list` from now on. If the entry is there already, nothing is sent:
    /// HAProxy would make a second one.
    ///
    /// - Throws: `target.notReferenced` without such a list or certificate, `target.refused` with what HAProxy says about
    ///   the terms, `target.ambiguous` where the list has the file in another spelling, `configuration.invalid` for terms
    ///   in a directory.
    func addEntry(_ name: StoreName, _ terms: CrtListTerms = .none, to list: StoreName) async throws(CertsError) {
        guard terms.isEmpty || !Self.isDirectory(list, of: name) else {
            throw CertsError(
                .configurationInvalid, "a certificate in the directory \(list) can have no options and no filters",
                subject: name.rawValue,
                hint: "HAProxy would lose them with the next reload: use a crt-list file for them")
        }
        if try await hasEntry(name, terms, in: list) { return try await requireUsed(name, in: list) }
        guard let stored = try await session.stored(name), stored.status != "Empty" else {
            throw CertsError(
                .targetNotReferenced, "HAProxy has no certificate called \(name) that could be taken into \(list)",
                subject: name.rawValue, hint: "run again: the certificate is put into HAProxy's memory first")
        }
        let command = try RuntimeCommand.add(name, terms, to: list)
        var instances = 0
        do throws(CertsError) {
            instances = try RuntimeReply.add(try await session.connection.send(command), name: name, to: list)
        } catch {
            // A refusal is an answer; everything else leaves open what happened.
            guard error.code != .targetRefused, error.code != .targetNotReferenced,
                (try? await hasEntry(name, terms, in: list)) == true
            else { throw error }
        }
        guard try await hasEntry(name, terms, in: list) else {
            throw CertsError(
                .targetUnexpectedReply,
                "HAProxy said that it took \(name) into \(list), but the list has no such entry",
                subject: name.rawValue, hint: "let only certs change lists at this socket, then run again",
                retry: .later)
        }
        try await requireUsed(name, in: list)
        session.logger.info(
            "HAProxy took the certificate into a list",
            metadata: ["file": "\(name)", "list": "\(list)", "instances": "\(instances)"])
    }

    /// Whether the list has an entry for `name` with these terms.
    private func hasEntry(_ name: StoreName, _ terms: CrtListTerms, in list: StoreName) async throws(CertsError) -> Bool
    {
        let wanted = StoreName.normalized(name.rawValue)
        let found = try await entries(of: list).filter { StoreName.normalized($0.name) == wanted }
        if let other = found.first(where: { $0.name != name.rawValue }) {
            throw CertsError(
                .targetAmbiguous, "\(list) has the certificate in another spelling already: \(other.name)",
                subject: name.rawValue, hint: "write \(other.name) as the `bundle`, or take that line out of \(list)")
        }
        if found.isEmpty || found.contains(where: terms.matches) { return !found.isEmpty }
        throw CertsError(
            .targetRefused,
            "\(list) has the certificate already, with other options or filters: '\(TerminalText.sanitized(found[0].text, limit: 300))'",
            subject: name.rawValue,
            hint: "write the same ones for this certificate, or change the line in \(list) and reload HAProxy")
    }

    private func requireUsed(_ name: StoreName, in list: StoreName) async throws(CertsError) {
        guard try await session.stored(name)?.status == "Used" else {
            throw CertsError(
                .targetUnexpectedReply, "\(list) has an entry for \(name), but HAProxy does not use it",
                subject: name.rawValue, hint: "name \(list) in a `bind` line and reload HAProxy", retry: .later)
        }
    }

    /// Takes every entry for `name` out of `list`; none is fine.
    ///
    /// - Throws: `target.refused` where HAProxy needs the certificate as the default of a `bind`.
    func removeEntry(_ name: StoreName, from list: StoreName) async throws(CertsError) {
        let found = try await entries(of: list).filter { $0.name == name.rawValue }
        for entry in found.reversed() {
            let command = RuntimeCommand.remove(name, line: entry.line, from: list)
            _ = try RuntimeReply.remove(try await session.connection.send(command), name: name, from: list)
        }
        guard try await !entries(of: list).contains(where: { $0.name == name.rawValue }) else {
            throw CertsError(
                .targetUnexpectedReply,
                "HAProxy said that it took \(name) out of \(list), but the entry is still there",
                subject: name.rawValue, hint: "let only certs change lists at this socket, then run again",
                retry: .later)
        }
    }
}
