package import CertsCore

/// Makes the sender of a declared channel.
package enum ChannelFactory {
    /// Reads a file with a secret; the second is what it is, for the message of an error. Blocking.
    package typealias SecretReader = @Sendable (_ path: String, _ what: String) throws -> Secret

    package static func make(
        _ declaration: ChannelDeclaration, readSecret: @escaping SecretReader
    ) -> any NotificationChannel {
        func reader(_ path: String?, _ what: String) -> (@Sendable () throws -> Secret)? {
            guard let path else { return nil }
            return { try readSecret(path, what) }
        }
        switch declaration.kind {
        case .webhook(let url, let secretFile, let caFile):
            return WebhookChannel(
                name: declaration.name, url: url, caFile: caFile,
                secret: reader(secretFile, "the secret of the webhook"))
        case .email(let email):
            return EmailChannel(
                name: declaration.name, declaration: email,
                password: reader(email.passwordFile, "the password of the mail server"))
        case .command(let arguments, let timeout):
            return CommandChannel(name: declaration.name, arguments: arguments, timeout: timeout)
        }
    }
}
