import ArgumentParser
import CertsCore
import CertsEngine
import CertsIssuers
import Foundation

struct ACMECommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "acme", abstract: "Accounts and directories of ACME CAs, and the rules for HAProxy.",
        subcommands: [ACMEAccountCommand.self, ACMEDirectoryCommand.self])
}

struct ACMEAccountCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "account", abstract: "Show the account at a CA, or change it.",
        discussion: """
            show: as the CA has it (the default). create: make it now, not with the first order. update: tell the CA the \
            contacts of the configuration. accept-terms: agree to new terms of service, after you have read them. \
            rollover: a new account key. deactivate: for ever; needs --yes.
            """)

    enum Action: String, ExpressibleByArgument, CaseIterable {
        case show, create, update, rollover, deactivate
        case acceptTerms = "accept-terms"
    }

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "The issuer; its type is acme.")
    var issuer: String
    @Argument(help: "show, create, update, accept-terms, rollover or deactivate.")
    var action: Action = .show
    @Flag(help: "Do it, although it cannot be undone.")
    var yes = false

    struct Document: Encodable {
        let schema = 1
        @OrNull var account: Account?
    }

    struct Account: Encodable {
        let url: String
        let status: String
        let contact: [String]
        @OrNull var termsOfService: String?
        @OrNull var termsAcceptedAt: Date?
        let keyThumbprint: String
        let directory: String

        init(_ view: ACMEAccountView) {
            url = view.url
            status = view.status
            contact = view.contact
            termsOfService = view.termsOfService?.url
            termsAcceptedAt = view.termsOfService?.acceptedAt
            keyThumbprint = view.keyThumbprint
            directory = view.directory
        }

        var rows: [Property] {
            [
                Property("account", url), Property("status", status),
                Property("contact", contact.joined(separator: ", ")),
                Property("terms", termsOfService), Property("accepted", termsAcceptedAt.map { Time.text($0) }),
                Property("key", keyThumbprint), Property("directory", directory),
            ]
        }
    }

    func run() async throws {
        if action == .deactivate, !yes {
            throw CertsError(
                .usage, "an account that is deactivated cannot be brought back", subject: issuer,
                hint: "add --yes if that is meant; its certificates stay valid, and can no longer be revoked with it")
        }
        let assembly = try await Assembly.make(global)
        let managing = try assembly.acmeIssuer(issuer)
        switch action {
        case .show: try await show(managing)
        case .create: try print(try await managing.createAccount())
        case .update: try print(try await managing.updateAccount(acceptingTerms: false))
        case .acceptTerms: try print(try await managing.updateAccount(acceptingTerms: true))
        case .rollover: try print(try await managing.rollOverKey())
        case .deactivate:
            try await managing.deactivateAccount()
            Terminal.note("the account of '\(issuer)' is deactivated")
        }
    }

    private func show(_ managing: any ACMEAccountManaging) async throws {
        guard let account = try await managing.account() else {
            if output.output == .json { Terminal.print(try JSON.encode(Document(account: nil), pretty: true)) }
            Terminal.note(
                "'\(issuer)' has no account yet: it is made with the first order, or by `certs acme account \(issuer) create`"
            )
            throw ExitStatus.notFound
        }
        try print(account)
    }

    private func print(_ view: ACMEAccountView) throws {
        let account = Account(view)
        try Property.print(account.rows, document: Document(account: account), output.output)
    }
}

struct ACMEDirectoryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "directory", abstract: "What a CA offers: terms, profiles, renewal information.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "The issuer; its type is acme.")
    var issuer: String

    struct Document: Encodable {
        let schema = 1
        let directory: Offer
    }

    struct Offer: Encodable {
        let url: String
        @OrNull var termsOfService: String?
        @OrNull var website: String?
        let caaIdentities: [String]
        let externalAccountRequired: Bool
        let profiles: [String: String]
        let renewalInfo: Bool
        let keyChange: Bool

        init(_ view: ACMEDirectoryView) {
            url = view.url
            termsOfService = view.termsOfService
            website = view.website
            caaIdentities = view.caaIdentities
            externalAccountRequired = view.externalAccountRequired
            profiles = view.profiles
            renewalInfo = view.offersRenewalInfo
            keyChange = view.offersKeyChange
        }

        var rows: [Property] {
            let profileRows = profiles.sorted { $0.key < $1.key }.map { Property("profile \($0.key)", $0.value) }
            return [
                Property("directory", url), Property("terms", termsOfService), Property("website", website),
                Property("caa", caaIdentities.joined(separator: ", ")),
                Property("external account", externalAccountRequired ? "required" : "not needed"),
                Property("renewal information", renewalInfo ? "yes" : "no"),
                Property("key rollover", keyChange ? "yes" : "no"),
            ] + (profileRows.isEmpty ? [Property("profiles", nil)] : profileRows)
        }
    }

    func run() async throws {
        let assembly = try await Assembly.make(global)
        let offer = Offer(try await assembly.acmeIssuer(issuer).directoryView())
        try Property.print(offer.rows, document: Document(directory: offer), output.output)
    }
}

/// One line of a thing with several properties.
struct Property: Encodable {
    let name: String
    let value: String

    init(_ name: String, _ value: String?) {
        self.name = name
        self.value = value.flatMap { $0.isEmpty ? nil : $0 } ?? "-"
    }

    static func print(_ rows: [Property], document: some Encodable, _ format: OutputFormat) throws {
        try Listing(
            document: document, items: rows, columns: [Column("what") { $0.name }, Column("value") { $0.value }]
        ).print(format)
    }
}

extension Assembly {
    func acmeIssuer(_ name: String) throws -> any ACMEAccountManaging {
        guard let found = engine.context.issuers.first(where: { $0.key.rawValue == name })?.value else {
            let known = declarations.issuers.map(\.name.rawValue).joined(separator: ", ")
            throw CertsError(
                .nameUnknown, "no issuer named '\(name)' is declared",
                hint: known.isEmpty ? "declare one in the configuration" : "declared: \(known)")
        }
        guard let managing = found as? any ACMEAccountManaging else {
            throw CertsError(
                .usage, "the issuer '\(name)' is not of type acme: it has no account", subject: name,
                hint: "name an issuer of type acme")
        }
        return managing
    }
}
