package import CertsCore
import CertsHTTP
import Foundation

/// Mail through one server of the user.
package struct EmailChannel: NotificationChannel {
    let name: Name
    let declaration: EmailDeclaration
    /// Read for each message.
    let password: (@Sendable () throws -> Secret)?
    var deadline: Duration = .seconds(20)

    package init(name: Name, declaration: EmailDeclaration, password: (@Sendable () throws -> Secret)? = nil) {
        self.name = name
        self.declaration = declaration
        self.password = password
    }

    package func send(_ message: NotificationMessage) async throws {
        guard declaration.security != .none || Loopback.contains(declaration.host) else {
            throw CertsError(
                .configurationInvalid, "the channel \(name) would send mail in the clear to another host",
                hint: "write 'tls: starttls' or 'tls: implicit'")
        }
        var client = SMTPClient(
            host: declaration.host, port: declaration.port, security: security, caFile: declaration.caFile,
            deadline: deadline)
        if let user = declaration.user, let password {
            client.credentials = (user, try await BlockingPool.shared.run(password))
        }
        let text = EmailText.make(message, from: declaration.from, to: declaration.to)
        do {
            try await client.send(text, from: declaration.from, to: declaration.to)
        } catch let failure as SMTPFailure {
            throw Self.error(failure)
        }
    }

    private static func error(_ failure: SMTPFailure) -> CertsError {
        switch failure {
        case .badAddress(let server):
            CertsError(
                .notificationFailed, "an address for \(server) has characters that none has",
                hint: "correct the configuration")
        case .notTaken(let server, let reason, let hint):
            CertsError(
                .notificationFailed, "the mail server \(server) did not take the message: \(reason)", subject: server,
                hint: hint, retry: .later)
        case .unusable(let error):
            CertsError(.notificationFailed, error.message, subject: error.subject, hint: error.hint, retry: .later)
        }
    }

    private var security: SMTPClient.Security {
        switch declaration.security {
        case .none: .none
        case .startTLS: .startTLS
        case .implicit: .implicit
        }
    }
}
