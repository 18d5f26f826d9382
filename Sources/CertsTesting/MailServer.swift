import Foundation

/// A real SMTP server (Debian's `python3-aiosmtpd`) on a loopback port, with STARTTLS and AUTH as told.
package final class MailServer: Sendable {
    package struct Setting: Sendable {
        package var offersTLS = true
        /// Only after STARTTLS; the user is `certs`.
        package var password: String?
        /// A recipient that is refused.
        package var refused = "nobody@example.com"

        package init(offersTLS: Bool = true, password: String? = nil) {
            self.offersTLS = offersTLS
            self.password = password
        }
    }

    /// What came: the envelope, and the message as it was sent.
    package struct Mail: Sendable, Decodable {
        package let from: String
        package let to: [String]
        /// Of a header field, decoded by Python's `email` package; names in lower case.
        package let header: [String: String]
        package let names: [String]
        package let text: String
        package let isEncrypted: Bool
        package let user: String?
    }

    package let port: Int
    /// PEM file of the CA of its certificate, which is for `localhost` and 127.0.0.1.
    package let caFile: String
    private let directory: TemporaryDirectory
    private let process: ServerProcess

    package init(_ setting: Setting = Setting()) throws {
        directory = try TemporaryDirectory(prefix: "certs-mail")
        port = try LoopbackPort.reserve()
        let identity = try ServerIdentity.make(in: directory, name: "localhost")
        caFile = identity.caFile
        let script = try directory.write(Self.script, to: "server.py")
        process = ServerProcess(
            [
                "/usr/bin/python3", script, String(port), identity.certificateFile, identity.keyFile,
                directory.path("mail"), setting.offersTLS ? "tls" : "clear", setting.password ?? "", setting.refused,
            ], directory: directory.path, log: directory.path("log"))
        try process.start { [process] in process.output.contains("ready") }
    }

    /// Everything that was taken so far.
    package func mails() throws -> [Mail] {
        let lines = (FileManager.default.contents(atPath: directory.path("mail")) ?? Data()).split(separator: 0x0a)
        return try lines.map { try JSONDecoder().decode(Mail.self, from: Data($0)) }
    }

    package var log: String { process.output }
    package func stop() { process.stop() }

    private static let script = """
        import asyncio, email, email.policy, json, ssl, sys
        from aiosmtpd.smtp import SMTP, AuthResult

        port, certificate, key, mails, tls, password, refused = sys.argv[1:]

        class Handler:
            async def handle_RCPT(self, server, session, envelope, address, options):
                if address == refused:
                    return "550 5.1.1 no such user"
                envelope.rcpt_tos.append(address)
                return "250 OK"

            async def handle_DATA(self, server, session, envelope):
                message = email.message_from_bytes(envelope.content, policy=email.policy.SMTP)
                with open(mails, "a") as file:
                    file.write(json.dumps({
                        "from": envelope.mail_from, "to": envelope.rcpt_tos,
                        "header": {name.lower(): str(value) for name, value in message.items()},
                        "names": [name.lower() for name in message.keys()],
                        "text": message.get_content(), "isEncrypted": session.ssl is not None,
                        "user": session.auth_data}) + "\\n")
                return "250 taken"

        def authenticate(server, session, envelope, mechanism, data):
            good = data.login == b"certs" and data.password == password.encode()
            return AuthResult(success=good, handled=good, auth_data="certs" if good else None)

        def make():
            context = None
            if tls == "tls":
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(certificate, key)
            return SMTP(
                Handler(), tls_context=context, require_starttls=False, authenticator=authenticate,
                auth_required=bool(password), auth_require_tls=True, hostname="localhost", loop=loop)

        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        loop.run_until_complete(loop.create_server(make, "127.0.0.1", int(port)))
        print("ready", flush=True)
        loop.run_forever()
        """
}
