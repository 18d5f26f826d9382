package import CertsCore
import Foundation

/// Finds records through a recursive server, following aliases.
package struct Resolver: Sendable {
    package let client: DNSClient
    /// Where authoritative servers listen.
    package var authoritativePort = 53

    /// How many aliases a chain may have.
    package static let longestChain = 16

    /// - Parameter server: `nil`: the first `nameserver` of /etc/resolv.conf.
    package init(server: SocketAddress? = nil, timeout: Duration = .seconds(6)) throws(CertsError) {
        let known: SocketAddress
        if let server { known = server } else { known = try ResolverFile.first() }
        client = DNSClient(server: known, timeout: timeout)
    }

    /// What was found at the end of the aliases.
    package struct Found: Sendable, Hashable {
        /// The name that was asked for, then each name that it leads to.
        package var names: [String]
        package var records: [DNSRecord]
        package var outcome: DNSAnswer.Outcome

        /// The last name of the chain: where the records are, or would be.
        package var canonicalName: String { names.last ?? "" }
    }

    /// The records of `type` at `name`, or at what it is an alias of.
    /// - Throws: `dns.failed`: also for aliases that lead back to themselves or go on for too long.
    package func find(_ name: String, _ type: DNSRecordType) async throws(CertsError) -> Found {
        var names = [DomainText.canonical(name)]
        for _ in 0...Self.longestChain {
            let asked = names[names.count - 1]
            let answer = try await client.ask(DNSQuestion(asked, type))
            let last = try Self.follow(answer, &names)
            let records = answer.records(type, at: last)
            if !records.isEmpty { return Found(names: names, records: records, outcome: .records) }
            if answer.outcome == .noSuchName { return Found(names: names, records: [], outcome: .noSuchName) }
            // A server may leave the end of the chain to us.
            if last == asked { return Found(names: names, records: [], outcome: .noData) }
        }
        throw Self.badChain(names, "goes on for more than \(Self.longestChain) names")
    }

    /// Both kinds of addresses of a name.
    package func addresses(of name: String) async throws(CertsError) -> [IPAddress] {
        async let four = result(name, .a)
        async let six = result(name, .aaaa)
        let results = await [four, six]
        let found = results.compactMap { try? $0.get() }
        guard !found.isEmpty else { return try results[0].get().records.compactMap(\.address) }
        return found.flatMap { $0.records.compactMap(\.address) }
    }

    private func result(_ name: String, _ type: DNSRecordType) async -> Result<Found, CertsError> {
        do {
            return .success(try await find(name, type))
        } catch {
            return .failure(error)
        }
    }

    private static func follow(_ answer: DNSAnswer, _ names: inout [String]) throws(CertsError) -> String {
        while let target = answer.alias(of: names[names.count - 1]) {
            if names.contains(target) { throw badChain(names, "leads back to \(target)") }
            names.append(target)
            if names.count > longestChain + 1 { throw badChain(names, "goes on for more than \(longestChain) names") }
        }
        return names[names.count - 1]
    }

    private static func badChain(_ names: [String], _ what: String) -> CertsError {
        let chain = names.prefix(4).joined(separator: " → ") + (names.count > 4 ? " → …" : "")
        return CertsError(
            .dnsFailed, TerminalText.sanitized("the chain of aliases (CNAME) \(chain) \(what)", limit: 1500),
            subject: names.first, hint: "correct the CNAME records", retry: .later)
    }
}

extension DNSRecord {
    fileprivate var address: IPAddress? {
        guard case .address(let address) = value else { return nil }
        return address
    }
}

/// /etc/resolv.conf (resolv.conf(5)).
enum ResolverFile {
    static func first(in path: String = "/etc/resolv.conf") throws(CertsError) -> SocketAddress {
        let text: String
        do {
            text = try String(contentsOfFile: path, encoding: .utf8)
        } catch {
            throw CertsError(
                .dnsFailed, "\(path) cannot be read", subject: path,
                hint: "name a resolver in the configuration (propagation.resolver)", cause: error)
        }
        guard let server = parse(text) else {
            throw CertsError(
                .dnsFailed, "\(path) names no server", subject: path,
                hint: "add a nameserver line, or name a resolver in the configuration (propagation.resolver)")
        }
        return server
    }

    static func parse(_ text: String) -> SocketAddress? {
        for line in text.split(whereSeparator: \.isNewline) {
            let words = line.split(whereSeparator: \.isWhitespace)
            guard words.count >= 2, words[0] == "nameserver", let address = IPAddress(String(words[1])) else {
                continue
            }
            return SocketAddress(address: address, port: 53)
        }
        return nil
    }
}
