import CertsCore
import CertsCrypto
import Foundation

/// Finalize, download, revocation (RFC 8555 §7.4, §7.6).
extension ScriptedCA {
    func finalize(_ number: Int, _ message: SignedMessage, _ state: inout State) -> Reply {
        guard let order = state.orders[number] else { return .problem("malformed", "no such order", status: 404) }
        guard state.status(of: order) == "ready" else {
            return .problem("orderNotReady", "the order is \(state.status(of: order))", status: 403)
        }
        guard let der = (message.payloadObject["csr"] as? String).flatMap(Self.decodeBase64URL),
            let request = try? CertificateRequest(der: der)
        else { return .problem("badCSR", "this is no PKCS#10 request") }
        let names = Set(order.identifiers.compactMap(Self.name))
        guard Set(request.names) == names else {
            return .problem("badCSR", "the request is not for the names of the order")
        }
        do {
            let issued = try issue(Array(names), request.publicKeyDER, order, &state)
            state.orders[number]?.certificate = issued
        } catch {
            return .problem("serverInternal", "\(error)", status: 500)
        }
        state.orders[number]?.isFinal = true
        state.orders[number]?.pollsLeft = state.behaviour.pollsBeforeIssued
        return reply(number, status: 200, state)
    }

    /// Makes a new order valid without a request: with the last certificate for its names, or for a key of nobody.
    func issueUnasked(_ number: Int, _ state: inout State) {
        guard let order = state.orders[number] else { return }
        let names = order.identifiers.compactMap(Self.name)
        let known = state.orders.filter { $0.key != number && Set($0.value.identifiers) == Set(order.identifiers) }
            .compactMap(\.value.certificate).max()
        if let certificate = try? known ?? issue(names, PrivateKey.generate(.ecdsaP256).publicKeyDER, order, &state) {
            state.orders[number]?.certificate = certificate
            state.orders[number]?.isFinal = true
        }
    }

    private func issue(
        _ names: [AlternativeName], _ publicKey: Data, _ order: State.Order, _ state: inout State
    ) throws -> Int {
        let behaviour = state.behaviour
        let now = Date()
        var template = CertificateTemplate(
            subject: Subject(), names: names.sorted(), notBefore: now.addingTimeInterval(-60),
            notAfter: now.addingTimeInterval(behaviour.validity - 60))
        if behaviour.honoursNotAfter, let wanted = order.notAfter { template.notAfter = wanted }
        var publicKey = publicKey
        switch behaviour.certificate {
        case .otherKey: publicKey = try PrivateKey.generate(.ecdsaP256).publicKeyDER
        case .names(let other): template.names = other.map { .dns($0) }
        case .expired:
            template.notBefore = now.addingTimeInterval(-2 * behaviour.validity)
            template.notAfter = now.addingTimeInterval(-3600)
        case .notYetValid:
            template.notBefore = now.addingTimeInterval(86_400)
            template.notAfter = now.addingTimeInterval(86_400 + behaviour.validity)
        default: break
        }
        let leaf = try template.sign(
            publicKey: publicKey, issuer: pki.intermediate.certificate, key: pki.intermediate.key)
        let number = state.newNumber()
        state.certificates[number] = [leaf, pki.intermediate.certificate]
        state.issued.append(leaf)
        return number
    }

    func certificate(_ number: Int, alternate: String?, _ state: inout State) -> Reply {
        guard var chain = state.certificates[number], let leaf = chain.first else {
            return .problem("malformed", "no such certificate", status: 404)
        }
        if let alternate {
            guard let index = Int(alternate), alternates.indices.contains(index) else {
                return .problem("malformed", "no such chain", status: 404)
            }
            chain = [leaf, alternates[index].intermediate]
        }
        var body = Data(chain.map(\.pem).joined().utf8)
        switch state.behaviour.certificate {
        case .wrongOrder: body = Data(chain.reversed().map(\.pem).joined().utf8)
        case .withoutIntermediate: body = Data(leaf.pem.utf8)
        case .withRoot: body += Data(pki.root.certificate.pem.utf8)
        case .huge(let size):
            let block = Data(pki.intermediate.certificate.pem.utf8)
            while body.count < size { body += block }
        case .bytes(let bytes): body = bytes
        default: break
        }
        var headers = [("Content-Type", "application/pem-certificate-chain")]
        let links = alternates.indices.map { "<\(url(.certificate, number, $0))>;rel=\"alternate\"" }
        // All in one field, as Pebble does it.
        if !links.isEmpty { headers.append(("Link", links.joined(separator: ", "))) }
        return Reply(200, headers: headers, body: body)
    }

    /// - Parameter account: whose key signed; `nil`: the key of the certificate, or a stranger.
    func revoke(_ message: SignedMessage, _ account: Int?, _ state: inout State) -> Reply {
        let payload = message.payloadObject
        guard let der = (payload["certificate"] as? String).flatMap(Self.decodeBase64URL),
            let leaf = state.issued.first(where: { $0.der == der })
        else { return .problem("malformed", "no such certificate", status: 404) }
        if account == nil, message.protected["kid"] != nil {
            return .problem("accountDoesNotExist", "there is no such account")
        }
        let reason = payload["reason"] as? Int ?? 0
        guard (0...6).contains(reason) || (8...10).contains(reason) else {
            return .problem("badRevocationReason", "\(reason) is no reason")
        }
        guard state.revoked[leaf.record.serial] == nil else {
            return .problem("alreadyRevoked", "it is revoked already")
        }
        state.revoked[leaf.record.serial] = reason
        return Reply(200)
    }

    private static func name(_ identifier: State.Identifier) -> AlternativeName? {
        identifier.type == "ip"
            ? IPAddress(identifier.value).map { .ip($0) } : .dns(identifier.value.lowercased())
    }
}
