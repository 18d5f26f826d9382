import CertsCore
import CertsCrypto
import Foundation

/// Orders, authorizations, challenges (RFC 8555 §7.4, §7.5).
extension ScriptedCA {
    func newOrder(_ message: SignedMessage, _ account: Int, _ state: inout State) -> Reply {
        let payload = message.payloadObject
        let behaviour = state.behaviour
        guard let list = payload["identifiers"] as? [[String: Any]], !list.isEmpty else {
            return .problem("malformed", "an order needs identifiers")
        }
        var identifiers = list.compactMap { item -> State.Identifier? in
            guard let type = item["type"] as? String, let value = item["value"] as? String else { return nil }
            return State.Identifier(type: type, value: value)
        }
        if let profile = payload["profile"] as? String, behaviour.profiles[profile] == nil {
            return .problem("invalidProfile", "there is no profile '\(profile)'")
        }
        if let other = behaviour.otherIdentifiers {
            identifiers = other.map { State.Identifier(type: "dns", value: $0) }
        }
        if let refusal = replaced(payload["replaces"] as? String, state) { return refusal }
        if behaviour.reusesOrders, let known = openOrder(for: identifiers, account, state) {
            return reply(known, status: 201, state)
        }
        if behaviour.reversesIdentifiers { identifiers.reverse() }
        let authorizations = identifiers.map { authorize($0, account, &state) }
        let number = state.newNumber()
        state.orders[number] = State.Order(
            account: account, identifiers: identifiers,
            // Never in the order of the identifiers.
            authorizations: authorizations.reversed(), expires: Date().addingTimeInterval(behaviour.orderLifetime),
            notAfter: (payload["notAfter"] as? String).flatMap { try? Date($0, strategy: .iso8601) },
            profile: payload["profile"] as? String, replaces: payload["replaces"] as? String)
        if behaviour.ordersAreValid { issueUnasked(number, &state) }
        return reply(number, status: 201, state)
    }

    /// RFC 9773 §5: what was replaced cannot be replaced again.
    private func replaced(_ id: String?, _ state: State) -> Reply? {
        guard let id else { return nil }
        guard state.issued.contains(where: { Self.certificateID(of: $0) == id }) else {
            return .problem("malformed", "the certificate to replace is not known")
        }
        let isReplaced = state.orders.values.contains { $0.replaces == id && state.status(of: $0) != "invalid" }
        return isReplaced ? .problem("alreadyReplaced", "it was replaced before", status: 409) : nil
    }

    private func openOrder(for identifiers: [State.Identifier], _ account: Int, _ state: State) -> Int? {
        state.orders.first {
            $0.value.account == account && Set($0.value.identifiers) == Set(identifiers)
                && ["pending", "ready"].contains(state.status(of: $0.value))
        }?.key
    }

    private func authorize(_ identifier: State.Identifier, _ account: Int, _ state: inout State) -> Int {
        let isWildcard = identifier.value.hasPrefix("*.")
        let plain = State.Identifier(
            type: identifier.type, value: isWildcard ? String(identifier.value.dropFirst(2)) : identifier.value)
        let number = state.newNumber()
        state.authorizations[number] = State.Authorization(
            account: account, identifier: plain, isWildcard: isWildcard,
            status: state.behaviour.isAuthorized ? "valid" : "pending",
            token: state.behaviour.token ?? Self.randomText())
        return number
    }

    func order(_ number: Int, _ state: inout State) -> Reply {
        guard let order = state.orders[number] else { return .problem("malformed", "no such order", status: 404) }
        if order.pollsLeft > 0 { state.orders[number]?.pollsLeft -= 1 }
        return reply(number, status: 200, state)
    }

    func reply(_ number: Int, status: Int, _ state: State) -> Reply {
        guard let order = state.orders[number] else { return .problem("serverInternal", status: 500) }
        let word = state.status(of: order)
        var object: [String: any Sendable] = [
            "status": word, "expires": order.expires.formatted(.iso8601),
            "identifiers": order.identifiers.map(\.json),
            "authorizations": order.authorizations.map { url(.authorization, $0) }, "finalize": url(.finalize, number),
        ]
        object["profile"] = order.profile
        object["replaces"] = order.replaces
        object["error"] = order.error
        if word == "valid", let certificate = order.certificate {
            object["certificate"] = url(.certificate, certificate)
        }
        var reply = Reply.json(object, status: status)
        // Only a new order has it (RFC 8555 §7.4); newer servers leave it out everywhere else.
        if status == 201 { reply.headers.append(("Location", url(.order, number))) }
        if ["pending", "processing"].contains(word), let delay = state.behaviour.retryAfter {
            reply.headers.append(("Retry-After", delay))
        }
        return reply
    }

    func authorization(_ number: Int, _ message: SignedMessage, _ state: inout State) -> Reply {
        guard var found = state.authorizations[number] else {
            return .problem("malformed", "no such authorization", status: 404)
        }
        if message.payloadObject["status"] as? String == "deactivated" {
            found.status = "deactivated"
        } else if found.answered != nil, found.status == "pending" {
            if found.pollsLeft > 0 { found.pollsLeft -= 1 } else { settle(&found, state) }
        }
        state.authorizations[number] = found
        var object: [String: any Sendable] = [
            "status": found.status, "identifier": found.identifier.json,
            "expires": Date().addingTimeInterval(3600).formatted(.iso8601),
            "challenges": challengeTypes(of: found, state).map { challengeObject($0, number, found) },
        ]
        if found.isWildcard { object["wildcard"] = true }
        let reply = Reply.json(object)
        guard found.status == "pending", found.answered != nil, let delay = state.behaviour.retryAfter else {
            return reply
        }
        return reply.with(header: "Retry-After", delay)
    }

    func challenge(_ number: Int, _ type: String, _ message: SignedMessage, _ state: inout State) -> Reply {
        guard var found = state.authorizations[number], challengeTypes(of: found, state).contains(type) else {
            return .problem("malformed", "no such challenge", status: 404)
        }
        // An empty object answers it; POST-as-GET reads it.
        if !message.payload.isEmpty, found.status == "pending", found.answered == nil {
            found.answered = type
            found.pollsLeft = state.behaviour.pollsBeforeValid
            if found.pollsLeft == 0 { settle(&found, state) }
            state.authorizations[number] = found
        }
        return .json(
            challengeObject(type, number, found),
            headers: [("Link", "<\(url(.authorization, number))>;rel=\"up\"")])
    }

    private func settle(_ authorization: inout State.Authorization, _ state: State) {
        guard let problem = state.behaviour.challengeProblem else {
            authorization.status = "valid"
            return
        }
        authorization.status = "invalid"
        authorization.problem = [
            "type": "urn:ietf:params:acme:error:\(problem.type)", "detail": problem.detail, "status": 403,
        ]
    }

    private func challengeTypes(of authorization: State.Authorization, _ state: State) -> [String] {
        // Only the DNS proves a wildcard, and only the host itself an address (RFC 8555 §8.4, RFC 8738 §7).
        state.behaviour.challengeTypes.filter {
            if authorization.isWildcard { return $0.hasPrefix("dns-") }
            return authorization.identifier.type != "ip" || !$0.hasPrefix("dns-")
        }
    }

    private func challengeObject(
        _ type: String, _ number: Int, _ authorization: State.Authorization
    ) -> [String: any Sendable] {
        let isAnswered = authorization.answered == type
        var object: [String: any Sendable] = [
            "type": type, "url": url(.challenge, number, type), "token": authorization.token,
            "status": isAnswered
                ? authorization.status == "pending" ? "processing" : authorization.status
                : authorization.status == "valid" && authorization.answered == nil && type == "http-01"
                    ? "valid" : "pending",
        ]
        if isAnswered { object["error"] = authorization.problem }
        return object
    }
}
