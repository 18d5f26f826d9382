import CertsCore
import Foundation
import Testing

@testable import certs

/// `notifications:` of the configuration.
@Suite struct NotificationConfigurationTests {
    private static func parse(_ notifications: String) throws -> NotificationsDeclaration {
        let text = "version: 1\nnotifications:\n" + notifications
        return try ConfigurationFile.parse(Array(text.utf8), path: "/etc/certs/certs.yml").notifications
    }

    @Test func `every channel with every key`() throws {
        let declared = try Self.parse(
            """
              digestAt: "06:30"
              channels:
                - { name: hook, type: webhook, url: "https://hooks.example.com/x", secretFile: hook.secret, caFile: ca.pem, on: [failed, digest] }
                - { name: mail, type: email, server: "smtp.example.com:465", from: certs@example.com, to: [a@example.com, b@example.com], user: u, passwordFile: /run/p, caFile: ca.pem }
                - { name: tell, type: command, run: [/usr/local/bin/tell, a b], timeout: 5s }
            """)
        #expect(declared.digestMinute == 390)
        #expect(
            declared.channels == [
                ChannelDeclaration(
                    name: try Name("hook"),
                    kind: .webhook(
                        url: "https://hooks.example.com/x", secretFile: "/etc/certs/hook.secret",
                        caFile: "/etc/certs/ca.pem"), events: [.failed, .digest]),
                ChannelDeclaration(
                    name: try Name("mail"),
                    kind: .email(
                        EmailDeclaration(
                            host: "smtp.example.com", port: 465, security: .implicit, from: "certs@example.com",
                            to: ["a@example.com", "b@example.com"], user: "u", passwordFile: "/run/p",
                            caFile: "/etc/certs/ca.pem"))),
                ChannelDeclaration(
                    name: try Name("tell"), kind: .command(["/usr/local/bin/tell", "a b"], timeout: 5)),
            ])
    }

    @Test(arguments: [
        ("smtp.example.com", 587, EmailDeclaration.Security.startTLS), ("smtp.example.com:25", 25, .startTLS),
        ("127.0.0.1:25", 25, .none), ("\"[::1]:2525\"", 2525, .none), ("localhost", 587, .none),
        ("192.0.2.1", 587, .startTLS), ("\"[2001:db8::1]\"", 587, .startTLS), ("smtp.example.com:465", 465, .implicit),
    ])
    func `mail is encrypted unless it stays here`(server: String, port: Int, security: EmailDeclaration.Security) throws
    {
        let declared = try Self.parse(
            "  channels: [ { name: m, type: email, server: \(server), from: a@example.com, to: [b@example.com] } ]")
        guard case .email(let email) = declared.channels.first?.kind else {
            Issue.record("no mail")
            return
        }
        #expect((email.port, email.security) == (port, security))
    }

    @Test(arguments: [
        ("{ name: a, type: webhook, url: \"http://hooks.example.com/\" }", "https"),
        ("{ name: a, type: webhook }", "url"),
        ("{ name: a, type: webhook, url: \"https://a.example.com\", secret: x }", "secretFile"),
        ("{ name: a, type: pager }", "webhook, email, command"),
        ("{ type: command, run: [x] }", "name"),
        ("{ name: a, type: command, run: [x], on: [faild] }", "failed"),
        ("{ name: a, type: command, run: [\"tell me\"] }", "[tell, me]"),
        ("{ name: a, type: email, server: s.example.com, from: a@example.com, to: [] }", "to"),
        (
            "{ name: a, type: email, server: s.example.com, from: \"a@example.com, b@example.com\", to: [c@example.com] }",
            "@"
        ),
        (
            "{ name: a, type: email, server: s.example.com, tls: none, from: a@example.com, to: [c@example.com] }",
            "clear"
        ),
        (
            "{ name: a, type: email, server: s.example.com, user: u, from: a@example.com, to: [c@example.com] }",
            "passwordFile"
        ),
        ("{ name: a, type: email, server: \"a b\", from: a@example.com, to: [c@example.com] }", "mail server"),
        ("{ name: a, type: command, run: [x] }, { name: a, type: command, run: [y] }", "second channel"),
    ])
    func `what is wrong is told with its place`(channel: String, word: String) throws {
        let error = #expect(throws: CertsError.self) { try Self.parse("  channels: [ \(channel) ]") }
        #expect(error?.details.first?.contains(":3:") == true, "\(String(describing: error?.report))")
        #expect(error?.report.contains(word) == true, "\(String(describing: error?.report))")
    }

    @Test(arguments: ["7:00", "24:00", "07:60", "0700", "07:00:00", "-1:00"])
    func `a time of day has four digits`(text: String) {
        #expect(ConfigurationValue.minuteOfDay(text) == nil)
    }
}
