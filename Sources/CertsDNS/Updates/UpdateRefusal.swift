import CertsCore

/// What a server's refusal of a dynamic update means, and what to do about it (RFC 2136 §2.2, RFC 8945 §5.2).
struct UpdateRefusal {
    var server: SocketAddress
    var zone: String
    var name: String
    var keyName: String?

    func error(code: Int, signature: TransactionSignature?) -> CertsError {
        let told = tell(code, signature)
        let key = keyName.map { ", signed with '\($0)'," } ?? ", not signed,"
        let place = TerminalText.sanitized(name, limit: 300)
        let zone = TerminalText.sanitized(zone, limit: 300)
        return CertsError(
            .dnsUpdateRefused,
            "the DNS server \(server) refuses the update of \(place)\(key) in the zone \(zone): \(told.words)",
            subject: name, hint: told.hint, retry: told.retry)
    }

    private typealias Told = (words: String, hint: String, retry: CertsError.Retry)

    private func tell(_ code: Int, _ signature: TransactionSignature?) -> Told {
        switch code {
        case 1: ("FORMERR", "check that this server takes dynamic updates", .never)
        case 2: ("SERVFAIL", "look into the server's log: it may not be able to write the zone's journal", .later)
        case 4: ("NOTIMP, it takes no dynamic updates", "name the primary server of the zone", .never)
        case 5:
            (
                "REFUSED",
                keyName == nil
                    ? "configure a TSIG key, or let the server take updates from this address (allow-update)"
                    : "let the key change TXT records at this name (update-policy or allow-update of the zone)", .never
            )
        case 9: notAuthorized(signature)
        case 10: ("NOTZONE, the name is not in this zone", "correct the zone in the configuration", .never)
        default: ("the error code \(code)", "look into the server's log", .later)
        }
    }

    private func notAuthorized(_ signature: TransactionSignature?) -> Told {
        switch signature?.error {
        case 16:
            ("BADSIG, the signature is wrong", "compare the secret and the algorithm of the key on both sides", .never)
        case 17:
            ("BADKEY, it does not know the key", "compare the key's name and algorithm with the server's", .never)
        case 18: badTime(signature)
        case 22: ("BADTRUNC, the signature is too short", "use hmac-sha256 or hmac-sha512 on both sides", .never)
        default:
            (
                "NOTAUTH, it is not authoritative for the zone",
                "name the primary server of the zone, or correct the zone", .never
            )
        }
    }

    private func badTime(_ signature: TransactionSignature?) -> Told {
        var words = "BADTIME, the clocks differ by more than 5 minutes"
        if let signature, let theirs = signature.otherTime {
            let distance = Double(signature.time) - Double(theirs)
            words = "BADTIME, our clock is \(Int(abs(distance))) s \(distance < 0 ? "behind" : "ahead of") the server's"
        }
        return (words, "set the clock of this host or of the server (NTP)", .later)
    }
}
