import CertsCore
import CertsCrypto
import Foundation
import Synchronization

/// `account-….json`: what is known of an account.
struct AccountRecord: Codable, Sendable {
    /// `nil`: not known yet; it is found by the key.
    var url: String?
    var directory: String
    var contact: [String] = []
    var status: String = "valid"
    var termsOfService: Agreement?

    /// Which terms a person agreed to, and when that was told to the CA.
    struct Agreement: Codable, Sendable {
        var url: String
        var acceptedAt: Date
    }
}

/// An account that requests can be signed for.
struct ActiveAccount: Sendable {
    let key: WebKey
    let url: String
    let record: AccountRecord

    var signer: ACMESession.Signer { .account(key, url: url) }

    func isSame(as other: ActiveAccount) -> Bool { url == other.url && key.thumbprint == other.key.thumbprint }
}

/// The account of one issuer at one directory: a key of its own and what is known of it, below `accounts/ISSUER/`.
///
/// Another directory (staging, then production) means other files, so that no key and no URL of one environment ever
/// reaches the other.
final class AccountKeeper: Sendable {
    private let session: ACMESession
    private let declaration: ACMEDeclaration
    private let files: any IssuerFiles
    private let limiter: IssuanceLimiter
    private let active = Mutex<ActiveAccount?>(nil)
    private let stem: String
    static let lockDeadline = Duration.seconds(60)

    init(session: ACMESession, declaration: ACMEDeclaration, files: any IssuerFiles, limiter: IssuanceLimiter) {
        self.session = session
        self.limiter = limiter
        self.declaration = declaration
        self.files = files
        stem = Self.stem(directory: declaration.directory)
    }

    /// `account-` with 8 hexadecimal digits of the SHA-256 of the directory's URL.
    static func stem(directory: String) -> String {
        "account-" + Hex.encode(Digest.sha256.data(of: Data(directory.utf8)).prefix(4))
    }

    static func keyFile(_ stem: String) -> String { "\(stem).key.pem" }
    static func recordFile(_ stem: String) -> String { "\(stem).json" }

    private var keyFile: String { Self.keyFile(stem) }
    /// The new key of a rollover whose answer has not come yet.
    private var nextKeyFile: String { "\(stem).next.key.pem" }
    private var recordFile: String { Self.recordFile(stem) }

    // MARK: Finding and making

    /// The account, created if the terms are accepted and there is none.
    func account() async throws -> ActiveAccount {
        if let known = active.withLock({ $0 }) { return known }
        return try await locked { try await self.found(creating: true, holding: $0) }
    }

    /// The account, if there is one: nothing is created. Asks the CA only when the URL is not known here.
    func existing() async throws -> ActiveAccount? {
        if let known = active.withLock({ $0 }) { return known }
        guard try await key(keyFile) != nil else { return nil }
        return try await locked {
            do {
                return try await self.found(creating: false, holding: $0)
            } catch let error as CertsError where error.code == .certificateMissing {
                return nil
            }
        }
    }

    /// The CA does not know the account any longer (a staging server that was wiped, a restored backup): the next use
    /// looks for it by its key, and makes it again at the same CA.
    func forgetURL() async throws {
        try await locked { _ in
            self.active.withLock { $0 = nil }
            guard var record = try await self.record() else { return }
            record.url = nil
            try await self.write(record)
        }
    }

    /// What another process has put in the place of `old`: the account with a new key, or another account.
    /// - Returns: `nil`: nothing; what the CA said of `old` stands.
    func successor(of old: ActiveAccount) async throws -> ActiveAccount? {
        try await locked { lock in
            self.active.withLock { if $0?.isSame(as: old) == true { $0 = nil } }
            let now = try await self.found(creating: true, holding: lock)
            return now.isSame(as: old) ? nil : now
        }
    }

    private func found(creating: Bool, holding lock: any HeldLock) async throws -> ActiveAccount {
        // Found while waiting for the lock.
        if let known = active.withLock({ $0 }) { return known }
        try await finishRollOver()
        var record = try await record() ?? AccountRecord(directory: declaration.directory)
        let stored = try await key(keyFile)
        if let stored, let url = record.url { return remember(stored, url, record) }
        if let stored, let found = try await session.findAccount(key: stored) {
            record.url = found.url
            record.status = found.account.status
            record.contact = found.account.contact
            try await write(record)
            return remember(stored, found.url, record)
        }
        guard creating else {
            throw CertsError(
                .certificateMissing, "there is no account at '\(session.issuer)' yet",
                subject: session.issuer.rawValue,
                hint: "make one with `certs acme account \(session.issuer) create`")
        }
        let key: WebKey
        if let stored { key = stored } else { key = try await makeKey(keyFile) }
        return try await create(key, record, holding: lock)
    }

    private func create(
        _ key: WebKey, _ known: AccountRecord, holding lock: any HeldLock
    ) async throws -> ActiveAccount {
        let directory = try await session.directory()
        let terms = directory.meta?.termsOfService
        guard declaration.acceptTerms || terms == nil else {
            throw CertsError(
                .termsNotAccepted, "the terms of service of the CA are not accepted", subject: session.issuer.rawValue,
                hint: "read \(TerminalText.sanitized(terms ?? "", limit: 300)), then write `acceptTerms: true`")
        }
        if directory.meta?.externalAccountRequired == true, declaration.externalAccount == nil {
            throw CertsError(
                .issuerRefused, "the CA wants an external account", subject: session.issuer.rawValue,
                hint: "get a key ID and a MAC key from the CA and write them as `externalAccount:`")
        }
        let contact = declaration.contact.isEmpty ? nil : declaration.contact
        var request = Account.Request(contact: contact, termsOfServiceAgreed: true)
        if let external = declaration.externalAccount {
            let text = try SecretFile.read(external.keyFile, what: "the MAC key of the external account")
            guard let raw = text.withBytes({ Base64URL.decode(String(decoding: $0, as: UTF8.self)) }) else {
                throw CertsError(
                    .keyMalformed, "\(external.keyFile) holds no MAC key in base64url", subject: external.keyFile,
                    hint: "write the key as the CA hands it out, on one line")
            }
            request.externalAccountBinding = try ExternalAccountBinding.make(
                external, macKey: Secret(copying: raw), account: key, newAccountURL: directory.newAccount)
        }
        if case .wait(let until, let reason) = try await limiter.reserveAccount(now: Date(), holding: lock) {
            throw CertsError(
                .issuerLimited, "no more accounts are made now: \(reason)", subject: session.issuer.rawValue,
                hint: "wait, or find out who makes so many accounts", retry: .after(until))
        }
        let made = try await session.newAccount(request, key: key)
        var record = known
        record.url = made.url
        record.status = made.account.status
        record.contact = declaration.contact
        record.termsOfService = terms.map { .init(url: $0, acceptedAt: Date()) }
        try await write(record)
        return remember(key, made.url, record)
    }

    private func remember(_ key: WebKey, _ url: String, _ record: AccountRecord) -> ActiveAccount {
        let account = ActiveAccount(key: key, url: url, record: record)
        active.withLock { $0 = account }
        return account
    }

    // MARK: Changing

    /// Tells the CA the declared contacts, and the agreement to its current terms if `acceptingTerms`.
    func update(acceptingTerms: Bool) async throws -> ActiveAccount {
        try await locked { lock in
            let account = try await self.known(holding: lock)
            let terms = try await self.session.directory(refreshed: true).meta?.termsOfService
            var request = Account.Request(contact: self.declaration.contact)
            if acceptingTerms { request.termsOfServiceAgreed = true }
            let answer = try await self.session.updateAccount(request, key: account.key, url: account.url)
            var record = account.record
            record.status = answer.status
            record.contact = self.declaration.contact
            if acceptingTerms, let terms { record.termsOfService = .init(url: terms, acceptedAt: Date()) }
            try await self.write(record)
            return self.remember(account.key, account.url, record)
        }
    }

    /// A new key for the account. It is on disk before the CA hears of it, and takes the place of the old one when the CA
    /// has answered, or, after a lost answer, when it is seen that the CA knows it. Until then it stays, and the next
    /// rollover offers it again: the CA may yet carry out what it has heard.
    func rollOver() async throws -> ActiveAccount {
        try await locked { lock in
            let account = try await self.known(holding: lock)
            guard let url = try await self.session.directory().keyChange else {
                throw CertsError(
                    .issuerRefused, "the CA offers no change of the account's key",
                    subject: self.session.issuer.rawValue)
            }
            let kept = try await self.key(self.nextKeyFile)
            let next: WebKey
            if let kept, kept.key.algorithm == self.declaration.accountKey {
                next = kept
            } else {
                next = try await self.makeKey(self.nextKeyFile)
            }
            let inner = try KeyChange.inner(account: account.url, from: account.key, to: next, url: url)
            do {
                _ = try await self.session.post(url, inner, as: account.signer)
            } catch let failure as ACMEFailure where (400..<500).contains(failure.status) && !failure.isLimit {
                // A no, or the answer to a repetition of what was carried out already.
                let found: (url: String, account: Account)?
                do {
                    found = try await self.session.findAccount(key: next)
                } catch let other as ACMEFailure where other.isAboutKey {
                    found = nil
                }
                guard found?.url == account.url else {
                    try await self.files.remove(self.nextKeyFile, of: self.session.issuer, in: .accounts)
                    throw failure
                }
            }
            try await self.adoptNextKey(next)
            return self.remember(next, account.url, account.record)
        }
    }

    /// After a rollover whose answer was lost: asks by the new key whether the CA knows it. Where it cannot be found out, the
    /// old key is the one to go on with.
    private func finishRollOver() async throws {
        guard let next = try await key(nextKeyFile),
            let found = try? await session.findAccount(key: next)
        else { return }
        var record = try await record() ?? AccountRecord(directory: declaration.directory)
        record.url = found.url
        try await write(record)
        try await adoptNextKey(next)
    }

    private func adoptNextKey(_ next: WebKey) async throws {
        try await files.write(try next.key.pem(), to: keyFile, of: session.issuer, in: .accounts)
        try await files.remove(nextKeyFile, of: session.issuer, in: .accounts)
    }

    /// Deactivates the account (RFC 8555 §7.3.6). It cannot be undone: its files go, and the next use makes a new one.
    func deactivate() async throws {
        try await locked { lock in
            let account = try await self.known(holding: lock)
            do {
                _ = try await self.session.updateAccount(
                    Account.Request(status: "deactivated"), key: account.key, url: account.url)
            } catch let failure as ACMEFailure where failure.mayBeAboutAccount {
                // Done already, by a request whose answer was lost?
                guard try await self.isGone(account) else { throw failure }
            }
            self.active.withLock { $0 = nil }
            for file in [self.keyFile, self.nextKeyFile, self.recordFile] {
                try await self.files.remove(file, of: self.session.issuer, in: .accounts)
            }
        }
    }

    private func isGone(_ account: ActiveAccount) async throws -> Bool {
        do {
            return try await session.findAccount(key: account.key)?.account.status != "valid"
        } catch let failure as ACMEFailure where failure.mayBeAboutAccount {
            return true
        }
    }

    /// The account that is to be changed, as it is on disk: another process may have changed it. None is made for that.
    private func known(holding lock: any HeldLock) async throws -> ActiveAccount {
        active.withLock { $0 = nil }
        return try await found(creating: false, holding: lock)
    }

    // MARK: Files

    private func locked<Result: Sendable>(
        _ body: @Sendable (any HeldLock) async throws -> Result
    ) async throws -> Result {
        let lock = try await files.lock(session.issuer, in: .accounts, deadline: Self.lockDeadline)
        defer { lock.release() }
        return try await body(lock)
    }

    private func key(_ file: String) async throws -> WebKey? {
        guard let pem = try await files.read(file, of: session.issuer, in: .accounts) else { return nil }
        return try WebKey(try PrivateKey(pem: pem))
    }

    private func makeKey(_ file: String) async throws -> WebKey {
        let algorithm = declaration.accountKey
        let key = try await BlockingPool.shared.run { try PrivateKey.generate(algorithm) }
        try await files.write(try key.pem(), to: file, of: session.issuer, in: .accounts)
        return try WebKey(key)
    }

    private func record() async throws -> AccountRecord? {
        guard let text = try await files.read(recordFile, of: session.issuer, in: .accounts) else { return nil }
        return try StoredJSON.decode(AccountRecord.self, from: text.withBytes { Data($0) })
    }

    private func write(_ record: AccountRecord) async throws {
        let text = Secret(copying: try StoredJSON.encode(record, readable: true))
        try await files.write(text, to: recordFile, of: session.issuer, in: .accounts)
    }
}
