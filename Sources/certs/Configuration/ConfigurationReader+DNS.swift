import CertsCore
import Foundation
import Yams

// `provider:` and `propagation:` of a challenge in the DNS.
extension ConfigurationReader {
    private enum ProviderType: String, CaseIterable {
        case rfc2136, command, webhook

        var keys: [String] {
            switch self {
            case .rfc2136: ["type", "server", "zone", "key"]
            case .command: ["type", "run", "timeout"]
            case .webhook: ["type", "url", "tokenFile", "caFile"]
            }
        }
    }

    func provider(_ block: ConfigurationBlock) -> DNSProvider? {
        guard let node = block.node("provider") else {
            block.missing(
                "provider",
                "say who changes the DNS: '{ type: rfc2136, server: 192.0.2.53, … }', '{ type: command, run: […] }' or "
                    + "'{ type: webhook, url: https://… }'")
            return nil
        }
        let what = "the provider of \(block.what)"
        guard let type = typeWord(node, what, ProviderType.self, "a type of DNS provider"),
            let provider = ConfigurationBlock(node, what, keys: type.keys, problems)
        else { return nil }
        switch type {
        case .rfc2136: return dynamicUpdates(provider)
        case .command:
            guard let arguments = programLine(provider, "run", "[/usr/local/bin/dns-hook]") else { return nil }
            return .command(arguments, timeout: provider.duration("timeout", 1...3600) ?? 60)
        case .webhook:
            guard let text = provider.requiredText("url", "write the https address that takes the records"),
                let url = secureURL(text, "the url of \(what)")
            else { return nil }
            return .webhook(url: url, tokenFile: file(provider, "tokenFile"), caFile: file(provider, "caFile"))
        }
    }

    private func dynamicUpdates(_ block: ConfigurationBlock) -> DNSProvider? {
        let server = block.requiredText("server", "write the address of the zone's primary server: 192.0.2.53")
        let zone = block.text("zone").flatMap { zoneName($0) }
        var key: DNSProvider.TransactionKey?
        if block.node("key") != nil {
            key = transactionKey(block)
            guard key != nil else { return nil }
        }
        guard let server, let address = nameServer(server) else { return nil }
        return .rfc2136(server: address, zone: zone, key: key)
    }

    private func transactionKey(_ block: ConfigurationBlock) -> DNSProvider.TransactionKey? {
        guard let block = block.block("key", keys: ["name", "algorithm", "secretFile"]) else { return nil }
        let name = block.requiredText("name", "write the name of the key as the server has it")
        let file = block.requiredText(
            "secretFile", "put the key's secret (base64) into a file with mode 0600, and name it here")
        var algorithm = DNSProvider.TransactionKey.Algorithm.hmacSHA256
        if let text = block.text("algorithm") {
            guard let known = word(text, "an algorithm", DNSProvider.TransactionKey.Algorithm.self) else { return nil }
            algorithm = known
        }
        guard let name, let file, let path = path(file), let keyName = keyName(name) else { return nil }
        return .init(name: keyName, algorithm: algorithm, secretFile: path)
    }

    /// The name of a key is a domain name (RFC 8945 §4.2), which may have underscores; a dot at its end means nothing.
    private func keyName(_ text: Located<String>) -> String? {
        let name = Self.withoutFinalDot(text.value)
        let isName = name.utf8.allSatisfy { byte in
            byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_") || byte == UInt8(ascii: ".")
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
        }
        guard isName, !name.isEmpty, name.utf8.count <= 253, !name.hasPrefix("."), !name.contains("..") else {
            problems.add(
                text.mark, "'\(TerminalText.sanitized(text.value, limit: 80))' is not the name of a key",
                "write it as in the server's configuration: key \"acme\" { … }")
            return nil
        }
        return name
    }

    private func zoneName(_ text: Located<String>) -> String? {
        do {
            let zone = try DNSName.canonical(Self.withoutFinalDot(text.value))
            if !zone.hasPrefix("*") { return zone }
            problems.add(text.mark, "a zone has no wildcard", "write \(zone.dropFirst(2))")
        } catch {
            problems.add(text.mark, error.message, error.hint ?? "correct it")
        }
        return nil
    }

    private static func withoutFinalDot(_ name: String) -> String {
        name.hasSuffix(".") ? String(name.dropLast()) : name
    }

    func propagation(_ block: ConfigurationBlock) -> Propagation {
        var propagation = Propagation()
        guard let block = block.block("propagation", keys: ["servers", "resolver", "timeout", "interval"]) else {
            return propagation
        }
        propagation.servers = block.texts("servers", "[192.0.2.53]").compactMap { nameServer($0) }
        propagation.resolver = block.text("resolver").flatMap { nameServer($0) }
        if let timeout = block.duration("timeout", 1...7200) { propagation.timeout = timeout }
        if let interval = block.duration("interval", 1...300) { propagation.interval = interval }
        return propagation
    }

    /// An address with a port, or without: then it is 53.
    private func nameServer(_ text: Located<String>) -> SocketAddress? {
        if let address = IPAddress(text.value) { return SocketAddress(address: address, port: 53) }
        if let address = SocketAddress(text.value) { return address }
        problems.add(
            text.mark, "'\(TerminalText.sanitized(text.value, limit: 80))' is not the address of a name server",
            "write an IP address, with a port unless it is 53: 192.0.2.53 or \"[2001:db8::53]:5353\"")
        return nil
    }
}
