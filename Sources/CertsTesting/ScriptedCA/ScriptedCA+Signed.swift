import Foundation
import Synchronization

/// What every signed request must be (RFC 8555 §6), and the way to its resource.
extension ScriptedCA {
    /// Does what a well-behaved CA does.
    func perform(_ request: Request) -> Reply {
        switch (request.resource, request.method) {
        case (.directory, "GET"): return directory()
        case (.newNonce, "HEAD"): return Reply(200, headers: [("Cache-Control", "no-store")])
        case (.newNonce, "GET"): return Reply(204, headers: [("Cache-Control", "no-store")])
        case (.renewalInformation, "GET"): return renewalInformation(request)
        case (_, "POST"): break
        default:
            return violation("\(request.method) \(request.path)", .problem("malformed", "no such method", status: 405))
        }
        guard let message = request.message else {
            return violation("a body that is no JWS: \(request.path)", .problem("malformed", "not a JWS"))
        }
        if let refusal = check(message, of: request) { return refusal }
        return state.withLock { state in
            let account = Self.account(of: message, in: state, self)
            switch request.resource {
            case .newAccount: return newAccount(message, &state)
            case .revokeCertificate: return revoke(message, account, &state)
            default: break
            }
            guard let account, state.accounts[account] != nil else {
                return .problem("accountDoesNotExist", "there is no such account")
            }
            guard state.accounts[account]?.status == "valid" else {
                return .problem("unauthorized", "the account is deactivated", status: 403)
            }
            return performSigned(request, message, account, &state)
        }
    }

    private func performSigned(
        _ request: Request, _ message: SignedMessage, _ account: Int, _ state: inout State
    ) -> Reply {
        let number = request.arguments.first.flatMap { Int($0) } ?? 0
        switch request.resource {
        case .account: return updateAccount(number, message, &state)
        case .newOrder: return newOrder(message, account, &state)
        case .order: return order(number, &state)
        case .authorization: return authorization(number, message, &state)
        case .challenge: return challenge(number, request.arguments.last ?? "", message, &state)
        case .finalize: return finalize(number, message, &state)
        case .certificate: return certificate(number, alternate: request.arguments.dropFirst().first, &state)
        case .keyChange: return changeKey(message, account, &state)
        default: return .problem("malformed", "there is nothing here", status: 404)
        }
    }

    private func check(_ message: SignedMessage, of request: Request) -> Reply? {
        let header = message.protected
        if request.headers["content-type"] != "application/jose+json" {
            note("the content type \(request.headers["content-type"] ?? "none")")
        }
        if request.headers["user-agent"] == nil { note("no User-Agent") }
        if header["url"] as? String != base + request.path {
            return violation(
                "the url \(header["url"] ?? "none") in a request for \(request.path)", .problem("unauthorized"))
        }
        if let problem = message.shapeProblem { return violation(problem, .problem("badSignatureAlgorithm", problem)) }
        if (header["jwk"] == nil) == (header["kid"] == nil) {
            return violation("not exactly one of jwk and kid: \(request.path)", .problem("malformed"))
        }
        return state.withLock { state in
            guard let nonce = header["nonce"] as? String else { return .problem("badNonce", "there is no nonce") }
            if !state.usedNonces.insert(nonce).inserted {
                state.violations.append("a nonce was used twice: \(request.path)")
            }
            let isKnown = state.nonces.remove(nonce) != nil
            if state.behaviour.badNonces > 0 {
                state.behaviour.badNonces -= 1
                return .problem("badNonce", "told to refuse it")
            }
            return isKnown ? nil : .problem("badNonce", "an unknown nonce")
        }
    }

    /// The account whose URL is the `kid`, or whose key is in the header.
    private static func account(of message: SignedMessage, in state: State, _ ca: ScriptedCA) -> Int? {
        if let id = message.protected["kid"] as? String {
            return state.accounts.keys.first { ca.url(.account, $0) == id }
        }
        return message.keyText.flatMap { key in state.accounts.first { $0.value.key == key }?.key }
    }

    private func note(_ what: String) { state.withLock { $0.violations.append(what) } }

    private func violation(_ what: String, _ reply: Reply) -> Reply {
        note(what)
        return reply
    }
}
