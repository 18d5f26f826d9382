import CertsCore
import Yams

extension ConfigurationReader {
    /// What can only be checked when everything has been read: who writes which file, who can see which certificate.
    func checkReferences() {
        checkBundles()
        checkLoadedPaths()
        checkServerNames()
    }

    /// One port cannot speak two protocols. Issuers may share a listener of one type: each answers for all.
    func checkListeners(_ server: ServerDeclaration) {
        var users = ["\(server.host.contains(":") ? "[\(server.host)]" : server.host):\(server.port)": "'server'"]
        for issuer in issuers {
            guard case .acme(let acme) = issuer.value.kind else { continue }
            for challenge in acme.challenges {
                guard let address = challenge.listener?.description else { continue }
                let user = users[address]
                if user == nil { users[address] = challenge.type.rawValue }
                guard let user, user != challenge.type.rawValue else { continue }
                problems.add(
                    issuer.mark,
                    "issuer '\(issuer.value.name)' would listen for \(challenge.type.rawValue) on \(address), "
                        + "as \(user) does",
                    "choose another port")
            }
        }
    }

    /// Two certificates must not overwrite each other's bundle, and two nodes must not share one.
    private func checkBundles() {
        var writers: [String: (certificate: Name, node: NodeID)] = [:]
        for source in certificates {
            for reference in source.declaration.targets {
                for node in targets.first(where: { $0.declaration.name == reference })?.nodes ?? [] {
                    for member in source.declaration.key.members {
                        let path = node.declaration.bundlePath(for: source.declaration.name, slot: member.slot)
                        guard let first = writers[path] else {
                            writers[path] = (source.declaration.name, node.declaration.id)
                            continue
                        }
                        guard first.certificate != source.declaration.name else { continue }
                        tellShared(path, first, source.declaration.name, node)
                    }
                }
            }
        }
    }

    private func tellShared(
        _ path: String, _ first: (certificate: Name, node: NodeID), _ second: Name, _ node: NodeSource
    ) {
        let elsewhere = first.node == node.declaration.id ? "" : " (target '\(first.node)')"
        let remedy =
            node.declaration.bundle.contains("{name}")
            ? "give the targets different directories"
            : "put {name} into the path, e.g. \(Self.withName(node.declaration.bundle))"
        problems.add(
            node.bundleMark,
            "the certificates '\(first.certificate)'\(elsewhere) and '\(second)' would both be written to \(path)",
            remedy)
    }

    /// What HAProxy holds under one path is one certificate, wherever the files of this host lie.
    private func checkLoadedPaths() {
        for target in targets {
            let users = certificates.filter { $0.declaration.targets.contains(target.declaration.name) }
            for node in target.nodes where node.declaration.loadedAs != nil {
                var owners: [String: Name] = [:]
                for user in users.map(\.declaration) {
                    let path = node.declaration.loadedPath(for: user.name)
                    guard let first = owners.updateValue(user.name, forKey: path) else { continue }
                    problems.add(
                        node.loadedMark,
                        "the certificates '\(first)' and '\(user.name)' would both be \(path) in HAProxy",
                        "put {name} into the path, e.g. \(Self.withName(path))")
                }
            }
        }
    }

    private static func withName(_ path: String) -> String {
        let directory = path.lastIndex(of: "/").map { path[...$0] } ?? ""
        return "\(directory){name}.pem"
    }

    /// A rotation is proved by a handshake, so each certificate needs an endpoint that asks for one of its names.
    private func checkServerNames() {
        for target in targets {
            let users = certificates.filter { $0.declaration.targets.contains(target.declaration.name) }
            guard !users.isEmpty else { continue }
            for node in target.nodes { checkServerNames(node, users) }
        }
    }

    private func checkServerNames(_ node: NodeSource, _ users: [CertificateSource]) {
        var orphans = 0
        for (endpoint, mark) in zip(node.declaration.endpoints, node.endpointMarks) {
            guard let serverName = endpoint.serverName,
                !users.contains(where: { Self.covers($0.declaration, serverName) })
            else { continue }
            orphans += 1
            let names = users.flatMap { $0.declaration.names.map(\.value) }
            problems.add(
                mark, "no certificate of target '\(node.declaration.id)' covers the serverName '\(serverName)'",
                remedy(for: serverName, names))
        }
        // All endpoints are wrong: the same mistake would be told twice.
        guard orphans < node.declaration.endpoints.count else { return }
        for user in users where !node.declaration.endpoints.contains(where: { Self.sees($0, user.declaration) }) {
            let place = user.declaration.targets.firstIndex(of: node.declaration.id.target).flatMap {
                user.targetMarks[$0]
            }
            problems.add(
                place,
                "no endpoint of target '\(node.declaration.id)' asks for a name of certificate '\(user.declaration.name)', so nothing could prove its rotation",
                "add an endpoint to the target with one of: \(user.declaration.names.map(\.value).joined(separator: ", "))"
            )
        }
    }

    private static func sees(_ endpoint: Endpoint, _ certificate: CertificateDeclaration) -> Bool {
        endpoint.serverName.map { covers(certificate, $0) } ?? true
    }

    private static func covers(_ certificate: CertificateDeclaration, _ serverName: String) -> Bool {
        certificate.names.contains {
            if case .dns(let pattern) = $0 { DNSName.covers(pattern, host: serverName) } else { false }
        }
    }
}

extension ChallengeDeclaration {
    /// Where it makes us listen.
    fileprivate var listener: SocketAddress? {
        switch method {
        case .http01(.listen(let address)), .tlsALPN01(let address): address
        case .http01(.directory), .dns01, .dnsAccount01, .dnsPersist01: nil
        }
    }
}
