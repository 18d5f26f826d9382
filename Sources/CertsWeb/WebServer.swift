package import CertsCore
package import CertsEngine
import Foundation
import Hummingbird
import HummingbirdCore
package import Logging
import NIOCore
import ServiceLifecycle

/// The listener for Prometheus and for people: `/`, `/metrics`, `/healthz`, `/readyz`.
///
/// It only reads: what it shows is a ``PublishedSnapshot``, so a scrape opens no file and waits for no rotation.
package struct WebServer: Service {
    /// What one client may take.
    package struct Limits: Sendable {
        /// Connections at the same time; more wait in the backlog of the kernel.
        package var connections: Int
        /// From the accepted connection to the complete header of the first request.
        package var firstRequest: Duration
        /// From the header of a request until the client has taken the whole response.
        package var exchange: Duration
        /// Between two requests of one connection; longer than the usual intervals of scraping.
        package var keepAlive: Duration

        package init(
            connections: Int = 256, firstRequest: Duration = .seconds(5), exchange: Duration = .seconds(30),
            keepAlive: Duration = .seconds(130)
        ) {
            self.connections = connections
            self.firstRequest = firstRequest
            self.exchange = exchange
            self.keepAlive = keepAlive
        }
    }

    private let declaration: ServerDeclaration
    private let responder: WebResponder
    private let limits: Limits
    private let logger: Logger
    private let onListening: @Sendable (ServerDeclaration) async -> Void

    /// - Parameters:
    ///   - declaration: where to listen; port 0 takes any free one.
    ///   - version: shown on the landing page.
    ///   - onListening: gets the address with the port that was really bound, once connections are accepted.
    package init(
        _ declaration: ServerDeclaration, snapshot: PublishedSnapshot, version: String, logger: Logger,
        limits: Limits = .init(),
        onListening: @escaping @Sendable (ServerDeclaration) async -> Void = { _ in }
    ) throws {
        self.declaration = declaration
        self.responder = WebResponder(snapshot: snapshot, landingPage: try LandingPage(version: version))
        self.limits = limits
        self.logger = logger
        self.onListening = onListening
    }

    /// Serves until the service group shuts down or the task is cancelled.
    ///
    /// - Throws: a ``CertsError`` that names the address and the next step, if it cannot listen there.
    package func run() async throws {
        let limits = limits
        let declaration = declaration
        let onListening = onListening
        var http = HTTP1Channel.Configuration(
            additionalChannelHandlers: [ConnectionDeadlines(limits)], idleTimeout: TimeAmount(limits.keepAlive))
        http.httpDecoder = .init(maxHeaderFieldSize: 8 << 10, maxHeaderListSize: 16 << 10, maxHeaderFieldCount: 100)
        let application = Application(
            responder: responder, server: .http1(configuration: http),
            configuration: ApplicationConfiguration(
                address: .hostname(declaration.host, port: declaration.port),
                availableConnectionsDelegate: .maximum(limits.connections, logger: logger)),
            onServerRunning: { channel in
                var bound = declaration
                bound.port = channel.localAddress?.port ?? declaration.port
                await onListening(bound)
            },
            logger: logger)
        do {
            try await application.run()
        } catch let error as CancellationError {
            throw error
        } catch {
            throw Self.explained(error, declaration)
        }
    }

    /// What a failure to listen means for the operator.
    static func explained(_ error: any Error, _ declaration: ServerDeclaration) -> CertsError {
        let address = Endpoint(host: declaration.host, port: declaration.port).address
        let (what, hint): (String, String) =
            switch (error as? IOError)?.errnoCode {
            case EADDRINUSE:
                (
                    "another program listens on \(address)",
                    "stop it ('ss -ltnp sport = :\(declaration.port)' names it), or choose another port in server.listen"
                )
            case EACCES, EPERM:
                ("this user may not listen on \(address)", "choose a port above 1023 in server.listen")
            case EADDRNOTAVAIL:
                (
                    "\(declaration.host) is no address of this host",
                    "write 127.0.0.1 or an address of an interface in server.listen"
                )
            default:
                ("cannot listen on \(address)", "check server.listen in the configuration")
            }
        // The words of the kernel, without the names of functions and the number that NIO puts around them.
        let words = (error as? IOError).map { String(cString: strerror($0.errnoCode)) }
        return CertsError(
            .http, words.map { "\(what): \($0)" } ?? what, subject: address, hint: hint,
            cause: words == nil ? error : nil)
    }
}

extension TimeAmount {
    /// A bound of a connection; not for more than hours.
    init(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        self = .milliseconds(min(seconds, 1_000_000) * 1000 + attoseconds / 1_000_000_000_000_000)
    }
}
