import CertsCore
import Foundation
import Yams

// `challenge:` and `challenges:` of an issuer of type `acme`.
extension ConfigurationReader {
    private static let challengeKeys: [ChallengeType: [String]] = [
        .http01: ["type", "names", "selfCheck", "listen", "directory"],
        .tlsALPN01: ["type", "names", "selfCheck", "listen"],
        .dns01: ["type", "names", "selfCheck", "provider", "propagation"],
        .dnsAccount01: ["type", "names", "selfCheck", "provider", "propagation"],
        .dnsPersist01: ["type", "names", "selfCheck", "provider", "propagation"],
    ]
    private static let listenRemedy =
        "write ADDRESS:PORT: 127.0.0.1:8402 where HAProxy passes it on, 0.0.0.0:80 where nothing else listens"

    func challenges(_ block: ConfigurationBlock) -> [ChallengeDeclaration] {
        let example = "challenge: { type: http-01, listen: 127.0.0.1:8402 }"
        switch (block.node("challenge"), block.node("challenges")) {
        case (nil, nil):
            block.missing("challenge", "say how the CA can see that the names are yours: '\(example)'")
            return []
        case (let one?, nil): return [challenge(one, "the challenge of \(block.what)")].compactMap(\.self)
        case (nil, .some): return severalChallenges(block, example)
        case (.some, let list?):
            problems.add(
                list.mark, "\(block.what) has 'challenge' and 'challenges'", "write all of them in 'challenges'")
            return []
        }
    }

    private func severalChallenges(_ block: ConfigurationBlock, _ example: String) -> [ChallengeDeclaration] {
        let nodes = block.list("challenges", "'- { type: http-01, … }'")
        if nodes.isEmpty, block.node("challenges")?.sequence != nil {
            problems.add(block.mark("challenges"), "'challenges' of \(block.what) is empty", "write '\(example)'")
        }
        var result: [ChallengeDeclaration] = []
        for (index, node) in nodes.enumerated() {
            guard let one = challenge(node, "challenge \(index + 1) of \(block.what)") else { continue }
            if result.contains(where: { $0.type == one.type && ($0.names.isEmpty || $0.names == one.names) }) {
                problems.add(
                    node.mark,
                    "challenge \(index + 1) of \(block.what) is never used: an earlier one of type "
                        + "'\(one.type.rawValue)' is for the same names",
                    "give the earlier one 'names', or take one of them out")
            }
            result.append(one)
        }
        return result
    }

    private func challenge(_ node: Node, _ what: String) -> ChallengeDeclaration? {
        guard let type = typeWord(node, what, ChallengeType.self, "a type of challenge"),
            let block = ConfigurationBlock(node, what, keys: Self.challengeKeys[type] ?? [], problems)
        else { return nil }
        let names = challengeNames(block, type)
        let selfCheck = selfCheck(block, type)
        let method: ChallengeDeclaration.Method?
        switch type {
        case .http01: method = http01(block).map { .http01($0) }
        case .tlsALPN01:
            method = block.requiredText("listen", Self.listenRemedy).flatMap { listener($0) }.map {
                .tlsALPN01(listen: $0)
            }
        case .dns01: method = provider(block).map { .dns01($0, propagation(block)) }
        case .dnsAccount01: method = provider(block).map { .dnsAccount01($0, propagation(block)) }
        case .dnsPersist01: method = provider(block).map { .dnsPersist01($0, propagation(block)) }
        }
        return method.map { ChallengeDeclaration(method: $0, names: names, selfCheck: selfCheck) }
    }

    /// The value of `type` (or of another key), which decides what other keys there are.
    func typeWord<Choice: RawRepresentable & CaseIterable>(
        _ node: Node, _ what: String, _: Choice.Type, _ kind: String, key: String = "type"
    ) -> Choice? where Choice.RawValue == String {
        let known = Choice.allCases.map(\.rawValue).joined(separator: ", ")
        guard case .mapping(let mapping) = node else {
            problems.add(
                node.mark, "\(what) must be a block, not \(ConfigurationBlock.typeName(node))",
                "write it as '{ \(key): …, … }' with one of \(known)")
            return nil
        }
        let typeNode = mapping.first { $0.key.scalar?.string == key }?.value
        guard let typeNode, case .scalar(let type) = typeNode, !ConfigurationText.isNull(typeNode) else {
            problems.add(typeNode?.mark ?? node.mark, "\(what) has no '\(key)'", "write one of \(known)")
            return nil
        }
        return word(Located(value: type.string, mark: type.mark), kind, Choice.self)
    }

    /// The names that a challenge is for: subtrees, wildcards by themselves, addresses.
    private func challengeNames(_ block: ConfigurationBlock, _ type: ChallengeType) -> [String] {
        var names: [String] = []
        for text in block.texts("names", "[example.com, \"*.example.com\"]") {
            do {
                let address = IPAddress(text.value)?.description
                let name = if let address { address } else { try DNSName.canonical(text.value) }
                if name.hasPrefix("*."), !type.isInDNS {
                    problems.add(
                        text.mark, "'\(name)' cannot be proved by \(type.rawValue)",
                        "leave it out here, and add a challenge of type dns-01 for wildcards")
                }
                if !names.contains(name) { names.append(name) }
            } catch {
                problems.add(text.mark, error.message, error.hint ?? "correct it")
            }
        }
        return names
    }

    /// `selfCheck: false`, or a block that says how to look.
    private func selfCheck(_ block: ConfigurationBlock, _ type: ChallengeType) -> SelfCheck {
        var check = SelfCheck()
        guard case .mapping? = block.node("selfCheck") else {
            check.isEnabled = block.flag("selfCheck") ?? true
            return check
        }
        guard !type.isInDNS else {
            problems.add(
                block.mark("selfCheck"), "'selfCheck' of \(block.what) takes true or false only",
                "say under 'propagation' how the DNS is looked at")
            return check
        }
        guard let block = block.block("selfCheck", keys: ["address", "port", "timeout"]) else { return check }
        if let text = block.text("address") {
            check.address = address(text, "write where to connect to instead of what the DNS says: 127.0.0.1:80")
        }
        check.port = block.integer("port", 1...65535)
        if let timeout = block.duration("timeout", 1...600) { check.timeout = timeout }
        return check
    }

    private func http01(_ block: ConfigurationBlock) -> ChallengeDeclaration.HTTP01? {
        switch (block.text("listen"), block.text("directory")) {
        case (let text?, nil): return listener(text).map { .listen($0) }
        case (nil, let text?): return path(text).map { .directory($0) }
        case (.some, let directory?):
            problems.add(directory.mark, "\(block.what) has 'listen' and 'directory'", "leave one of them out")
        case (nil, nil):
            if block.node("listen") == nil, block.node("directory") == nil {
                block.missing(
                    "listen",
                    "write 'listen: 127.0.0.1:8402', or 'directory: /var/www/acme' where a web server shows its files "
                        + "below /.well-known/acme-challenge/")
            }
        }
        return nil
    }

    private func listener(_ text: Located<String>) -> SocketAddress? { address(text, Self.listenRemedy) }

    private func address(_ text: Located<String>, _ remedy: String) -> SocketAddress? {
        if let address = SocketAddress(text.value) { return address }
        problems.add(
            text.mark, "'\(TerminalText.sanitized(text.value, limit: 80))' is not an IP address with a port", remedy)
        return nil
    }
}
