import CertsCore
import Foundation

// The account and the terms of service.
extension ACMEInspection {
    func lookAtAccount(_ directory: ACMEDirectoryView) async -> (ACMEAccountView?, [Finding]) {
        do {
            guard let account = try await sources.account() else { return (nil, missing(directory)) }
            guard account.status == "valid" else { return (nil, [invalid(account)]) }
            return (account, changedTerms(account, directory))
        } catch {
            let remedy = "look at `certs acme account \(issuer)`"
            return (nil, [Self.finding(error, id: "account-unusable", remedy: remedy)])
        }
    }

    private func missing(_ directory: ACMEDirectoryView) -> [Finding] {
        var findings = [
            Finding(
                id: "account-missing", severity: .info, message: "there is no account at this CA yet",
                remedy:
                    "nothing is to be done: it is made with the first order, or by `certs acme account \(issuer) create`"
            )
        ]
        if directory.externalAccountRequired, declaration.externalAccount == nil {
            findings.append(
                Finding(
                    id: "external-account-missing", severity: .error,
                    message: "the CA makes accounts only for those who are known to it already",
                    remedy: "get a key ID and a MAC key from the CA, and write them as `externalAccount:`"))
        }
        if let terms = directory.termsOfService, !declaration.acceptTerms {
            findings.append(
                Finding(
                    id: "terms-not-accepted", severity: .error,
                    message:
                        "nobody has agreed to the CA's terms of service: \(TerminalText.sanitized(terms, limit: 300))",
                    remedy: "read them, then write `acceptTerms: true`"))
        }
        return findings
    }

    private func invalid(_ account: ACMEAccountView) -> Finding {
        let status = TerminalText.sanitized(account.status, limit: 40)
        return Finding(
            id: "account-invalid", severity: .error,
            message: "the account \(TerminalText.sanitized(account.url, limit: 300)) is \(status), and stays so",
            remedy: "move its files in accounts/\(issuer) of the state directory away: a new account is then made")
    }

    /// The CA says when it insists on an agreement to new terms (RFC 8555 §7.3.3); until then this is only news.
    private func changedTerms(_ account: ACMEAccountView, _ directory: ACMEDirectoryView) -> [Finding] {
        guard let now = directory.termsOfService, let accepted = account.termsOfService, accepted.url != now else {
            return []
        }
        return [
            Finding(
                id: "terms-changed", severity: .warning,
                message: "the CA's terms of service have changed since they were agreed to: "
                    + TerminalText.sanitized(now, limit: 300),
                remedy: "read them, then run `certs acme account \(issuer) accept-terms`")
        ]
    }
}
