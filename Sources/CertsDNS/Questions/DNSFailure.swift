package import CertsCore

/// Why a question has no answer.
package struct DNSFailure: Error, Sendable, Hashable {
    package enum Reason: Sendable, Hashable {
        case timeout
        /// Nothing listens there, or the network says so.
        case unreachable(String)
        /// This host itself has no way there, e.g. no IPv6.
        case noRoute(String)
        /// An answer that is no DNS message, or none to our question.
        case malformed
        case serverFailure
        case refused
        /// Another RCODE (RFC 6895 §2.3).
        case code(Int)
        /// What was asked for is no domain name.
        case badName
    }

    package var reason: Reason
    package var server: SocketAddress
    package var question: DNSQuestion

    /// What happened, as the end of a sentence that begins with the server.
    package var words: String {
        switch reason {
        case .timeout: "did not answer in time"
        case .unreachable(let why): "cannot be reached (\(why))"
        case .noRoute(let why): "cannot be reached from this host (\(why))"
        case .malformed: "sent an answer that is not one"
        case .serverFailure: "answered SERVFAIL"
        case .refused: "answered REFUSED"
        case .code(let code): "answered with the error code \(code)"
        case .badName: "was not asked: this is not a domain name"
        }
    }

    package var error: CertsError {
        let shown = TerminalText.sanitized("\(question)", limit: 300)
        return CertsError(
            .dnsFailed, "the DNS server \(server), asked for \(shown), \(words)", subject: question.name, hint: hint,
            retry: reason == .badName ? .never : .later)
    }

    private var hint: String {
        switch reason {
        case .timeout: "check that the server runs and that UDP and TCP to it pass the firewall"
        case .unreachable: "check that the server runs and that the address and port are right"
        case .noRoute: "give this host a route to it, or name servers that it can reach"
        case .malformed: "check that a DNS server listens at this address, and nothing in between changes its answers"
        case .serverFailure:
            "look at the zone: its servers do not answer, or its DNSSEC signatures do not fit"
        case .refused: "let this host ask this server (allow-query, allow-recursion), or name another one"
        case .code: "ask the server's operator, or name another server"
        case .badName: "correct the name"
        }
    }
}
