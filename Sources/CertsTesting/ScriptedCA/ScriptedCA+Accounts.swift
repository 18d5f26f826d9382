import CertsCore
package import CertsCrypto
import Foundation
import Synchronization

/// Directory, accounts, renewal information.
extension ScriptedCA {
    func directory() -> Reply {
        let behaviour = behaviour
        var object: [String: any Sendable] = [
            "newNonce": url(.newNonce), "newAccount": url(.newAccount), "newOrder": url(.newOrder),
            "revokeCert": url(.revokeCertificate), "keyChange": url(.keyChange),
            // As Let's Encrypt does, against clients that cannot bear what they do not know.
            Self.randomText(): "https://example.net/adding-random-entries-to-the-directory",
        ]
        if behaviour.hasRenewalInformation { object["renewalInfo"] = url(.renewalInformation) }
        var meta: [String: any Sendable] = ["externalAccountRequired": behaviour.requiresExternalAccount]
        meta["termsOfService"] = behaviour.termsOfService
        meta["website"] = behaviour.website
        if !behaviour.caaIdentities.isEmpty { meta["caaIdentities"] = behaviour.caaIdentities }
        if !behaviour.profiles.isEmpty { meta["profiles"] = behaviour.profiles }
        if behaviour.hasNullMeta {
            for name in ["termsOfService", "website", "caaIdentities", "externalAccountRequired", "profiles"] {
                meta[name] = NSNull()
            }
        }
        object["meta"] = meta
        return .json(object)
    }

    /// RFC 8555 §7.3.
    func newAccount(_ message: SignedMessage, _ state: inout State) -> Reply {
        let payload = message.payloadObject
        guard let key = message.keyText else { return .problem("malformed", "a new account needs a jwk") }
        if let known = state.accounts.first(where: { $0.value.key == key }) {
            guard known.value.status == "valid" else {
                return .problem("unauthorized", "the account is deactivated", status: 403)
            }
            return accountReply(known.key, status: 200, state)
        }
        if payload["onlyReturnExisting"] as? Bool == true {
            return .problem("accountDoesNotExist", "no account has this key")
        }
        let hasAgreed = payload["termsOfServiceAgreed"] as? Bool == true
        if let terms = state.behaviour.termsOfService, !hasAgreed {
            return .userActionRequired(terms: terms, instance: terms)
        }
        if state.behaviour.requiresExternalAccount, payload["externalAccountBinding"] == nil {
            return .problem("externalAccountRequired", "an account of ours is needed first", status: 403)
        }
        let number = state.newNumber()
        state.accounts[number] = State.Account(
            key: key, contact: payload["contact"] as? [String] ?? [], hasAgreed: hasAgreed)
        return accountReply(number, status: 201, state)
    }

    /// Reads, updates or deactivates (RFC 8555 §7.3.2, §7.3.6).
    func updateAccount(_ number: Int, _ message: SignedMessage, _ state: inout State) -> Reply {
        guard state.accounts[number] != nil else { return .problem("malformed", "no such account", status: 404) }
        let payload = message.payloadObject
        if let contact = payload["contact"] as? [String] { state.accounts[number]?.contact = contact }
        if payload["status"] as? String == "deactivated" { state.accounts[number]?.status = "deactivated" }
        if payload["termsOfServiceAgreed"] as? Bool == true { state.accounts[number]?.hasAgreed = true }
        return accountReply(number, status: 200, state)
    }

    private func accountReply(_ number: Int, status: Int, _ state: State) -> Reply {
        guard let account = state.accounts[number] else { return .problem("serverInternal", status: 500) }
        return .json(
            ["status": account.status, "contact": account.contact, "orders": url(.account, number, "orders")],
            status: status, headers: [("Location", url(.account, number))])
    }

    /// RFC 8555 §7.3.5.
    func changeKey(_ message: SignedMessage, _ account: Int, _ state: inout State) -> Reply {
        guard let inner = SignedMessage(message.payload), let newKey = inner.keyText,
            inner.shapeProblem == nil, inner.protected["nonce"] == nil,
            inner.protected["url"] as? String == message.protected["url"] as? String
        else { return .problem("malformed", "the inner JWS is wrong") }
        let payload = inner.payloadObject
        guard payload["account"] as? String == url(.account, account),
            let oldKey = payload["oldKey"] as? [String: Any],
            SignedMessage.keyText(oldKey) == state.accounts[account]?.key
        else { return .problem("malformed", "the old key is not that of the account") }
        if let owner = state.accounts.first(where: { $0.value.key == newKey })?.key {
            return Reply.problem("malformed", "another account has this key", status: 409)
                .with(header: "Location", url(.account, owner))
        }
        state.accounts[account]?.key = newKey
        return accountReply(account, status: 200, state)
    }

    /// RFC 9773 §4.
    func renewalInformation(_ request: Request) -> Reply {
        state.withLock { state in
            let behaviour = state.behaviour
            guard behaviour.hasRenewalInformation, let id = request.arguments.first,
                let leaf = state.issued.first(where: { Self.certificateID(of: $0) == id })
            else { return .problem("malformed", "no such certificate", status: 404) }
            let record = leaf.record
            let third = record.notAfter.addingTimeInterval(-record.lifetime / 3)
            let window =
                behaviour.renewalWindow ?? DateInterval(start: third, duration: record.lifetime / 30)
            var object: [String: any Sendable] = [
                "suggestedWindow": [
                    "start": window.start.formatted(.iso8601), "end": window.end.formatted(.iso8601),
                ]
            ]
            object["explanationURL"] = behaviour.explanationURL
            let reply = Reply.json(object)
            return behaviour.renewalRetryAfter.map { reply.with(header: "Retry-After", $0) } ?? reply
        }
    }

    /// base64url of the authority key identifier, a dot, base64url of the serial's DER content (RFC 9773 §4.1).
    package static func certificateID(of leaf: Certificate) -> String? {
        guard let authority = leaf.record.authorityKeyID.flatMap({ Hex.decode($0) }) else { return nil }
        let digits = leaf.record.serial
        guard var serial = Hex.decode(digits.count.isMultiple(of: 2) ? digits : "0\(digits)") else { return nil }
        // A DER integer is signed.
        if serial.first.map({ $0 >= 0x80 }) == true { serial.insert(0, at: 0) }
        return "\(encodeBase64URL(Data(authority))).\(encodeBase64URL(Data(serial)))"
    }
}
