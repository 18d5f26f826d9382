import CertsCore
import CertsTesting
import Foundation
import Testing

@testable import CertsNotify

/// Mail through a real SMTP server.
@Suite(.timeLimit(.minutes(5))) struct EmailChannelTests {
    private let name: Name

    init() throws { name = try Name("mail") }

    private func channel(
        _ server: MailServer, _ security: EmailDeclaration.Security = .startTLS, password: String? = nil,
        to: [String] = ["ops@example.com", "night@example.com"], trusts: Bool = true
    ) -> EmailChannel {
        var reader: (@Sendable () throws -> Secret)?
        if let password { reader = { Secret(copying: Array(password.utf8)) } }
        var channel = EmailChannel(
            name: name,
            declaration: EmailDeclaration(
                host: "localhost", port: server.port, security: security, from: "certs@example.com", to: to,
                user: password == nil ? nil : "certs", passwordFile: password == nil ? nil : "x",
                caFile: trusts ? server.caFile : nil),
            password: reader)
        channel.deadline = .seconds(30)
        return channel
    }

    private func failure(_ channel: EmailChannel) async throws -> CertsError {
        try #require(await #expect(throws: CertsError.self) { try await channel.send(sampleMessage()) })
    }

    @Test func `goes out encrypted and with a password`() async throws {
        let server = try MailServer(.init(password: "correct horse"))
        defer { server.stop() }
        try await channel(server, password: "correct horse").send(try sampleMessage())
        let mail = try #require(try server.mails().first, "\(server.log)")
        #expect(mail.isEncrypted)
        #expect(mail.user == "certs")
        #expect(mail.from == "certs@example.com")
        #expect(mail.to == ["ops@example.com", "night@example.com"])
        #expect(mail.header["subject"] == "[certs edge-1] messenger: failed")
        #expect(mail.header["to"] == "ops@example.com, night@example.com")
        #expect(mail.header["auto-submitted"] == "auto-generated")
        #expect(mail.header["date"] == "Fri, 15 Jan 2027 08:00:00 +0000")
        #expect(mail.text.contains("messenger  failed  the CA is down"))
        #expect(mail.text.contains("next: wait"))
        #expect(mail.text.contains("expires: 2027-01-16T11:46:40Z"))
    }

    @Test func `is not sent in the clear where TLS was asked for`() async throws {
        let server = try MailServer(.init(offersTLS: false))
        defer { server.stop() }
        let error = try await failure(channel(server))
        #expect(error.code == .notificationFailed)
        #expect(error.hint?.contains("STARTTLS") == true)
        #expect(try server.mails().isEmpty)
        // On this host it may be, if that is what was written.
        try await channel(server, .none).send(try sampleMessage())
        #expect(try server.mails().map(\.isEncrypted) == [false])
    }

    @Test func `in the clear to another host is refused before anything is sent`() async throws {
        let channel = EmailChannel(
            name: name,
            declaration: EmailDeclaration(
                host: "192.0.2.1", port: 25, security: .none, from: "a@example.com", to: ["b@example.com"]))
        #expect(try await failure(channel).code == .configurationInvalid)
    }

    @Test func `a wrong password, an unknown CA and a refused recipient are told`() async throws {
        let server = try MailServer(.init(password: "correct horse"))
        defer { server.stop() }
        let denied = try await failure(channel(server, password: "wrong"))
        #expect(denied.code == .notificationFailed)
        #expect(denied.hint == "check the user and the password file")
        #expect(!"\(denied)".contains("wrong"))
        let untrusted = try await failure(channel(server, password: "correct horse", trusts: false))
        #expect(untrusted.hint?.contains("CA file") == true, "\(untrusted)")
        let refused = try await failure(channel(server, password: "correct horse", to: ["nobody@example.com"]))
        #expect(refused.message.contains("550"), "\(refused)")
        #expect(try server.mails().isEmpty)
    }

    @Test func `nothing in a message can begin a header field, or end the mail`() async throws {
        let server = try MailServer()
        defer { server.stop() }
        var message = try sampleMessage(
            host: "edge\r\nBcc: evil@example.com",
            summary: "a\r\nBcc: evil@example.com\r\n\r\n.\r\nQUIT ünïcödé \(String(repeating: "long ", count: 60))")
        message.changes[0].message = "x\r\n.\r\nMAIL FROM:<evil@example.com>"
        message.id = "1>\r\nBcc: evil@example.com"
        try await channel(server).send(message)
        let mails = try server.mails()
        #expect(mails.count == 1)
        let mail = try #require(mails.first)
        #expect(mail.to == ["ops@example.com", "night@example.com"])
        #expect(
            mail.names == [
                "from", "to", "subject", "date", "message-id", "auto-submitted", "mime-version", "content-type",
                "content-transfer-encoding",
            ])
        #expect(mail.header["subject"]?.contains("ünïcödé") == true)
        #expect(mail.text.contains("MAIL FROM"))
    }

    @Test(arguments: ["a@example.com\r\nRCPT TO:<evil@example.com>", "a@example.com> x", "a b@example.com"])
    func `nothing in an address can begin a command`(address: String) async throws {
        let server = try MailServer()
        defer { server.stop() }
        _ = try await failure(channel(server, to: [address]))
        #expect(try server.mails().isEmpty)
    }

    @Test func `a server that is not there or says nothing is a failure within the deadline`() async throws {
        let server = try MailServer()
        server.stop()
        #expect(try await failure(channel(server)).code == .notificationFailed)
        let silent = try TestResponder(.hangs)
        let port = try #require(URL(string: silent.url)?.port)
        var channel = EmailChannel(
            name: name,
            declaration: EmailDeclaration(
                host: "127.0.0.1", port: port, security: .none, from: "a@example.com", to: ["b@example.com"]))
        channel.deadline = .seconds(1)
        #expect(try await failure(channel).code == .notificationFailed)
    }

    @Test func `long subjects are in encoded words that a header may have`() {
        let encoded = EmailText.encoded(String(repeating: "ü", count: 100))
        #expect(encoded.split(separator: "\r\n ").allSatisfy { $0.utf8.count <= 75 })
        #expect(EmailText.encoded("plain") == "plain")
    }
}
