import CertsCore
import Foundation

extension ACMEIssuer: ACMEAccountManaging {
    package func account() async throws -> ACMEAccountView? {
        try await told {
            guard let account = try await accounts.existing(),
                let found = try await session.findAccount(key: account.key)
            else { return nil }
            return view(account, status: found.account.status, contact: found.account.contact)
        }
    }

    package func createAccount() async throws -> ACMEAccountView {
        try await told { view(try await accounts.account()) }
    }

    package func rollOverKey() async throws -> ACMEAccountView {
        try await told { view(try await accounts.rollOver()) }
    }

    package func deactivateAccount() async throws {
        try await told { try await accounts.deactivate() }
    }

    package func updateAccount(acceptingTerms: Bool) async throws -> ACMEAccountView {
        try await told { view(try await accounts.update(acceptingTerms: acceptingTerms)) }
    }

    package func directoryView() async throws -> ACMEDirectoryView {
        try await told {
            let directory = try await session.directory(refreshed: true)
            return ACMEDirectoryView(
                url: session.directoryURL, termsOfService: directory.meta?.termsOfService,
                website: directory.meta?.website, caaIdentities: directory.meta?.caaIdentities ?? [],
                externalAccountRequired: directory.meta?.externalAccountRequired ?? false,
                profiles: directory.meta?.profiles ?? [:], offersRenewalInfo: directory.renewalInfo != nil,
                offersKeyChange: directory.keyChange != nil)
        }
    }

    private func view(_ account: ActiveAccount, status: String? = nil, contact: [String]? = nil) -> ACMEAccountView {
        ACMEAccountView(
            url: account.url, status: status ?? account.record.status, contact: contact ?? account.record.contact,
            termsOfService: account.record.termsOfService.map { .init(url: $0.url, acceptedAt: $0.acceptedAt) },
            keyThumbprint: account.key.thumbprint, directory: session.directoryURL)
    }
}
