import CertsCore
package import CertsCrypto
import Foundation
import Synchronization

/// An ACME CA over TLS on loopback that does what a script says: every answer can be wrong, late, cut off or missing.
///
/// What no rule covers follows RFC 8555, as far as a client can tell: challenges are not looked for and signatures are not
/// verified (Pebble does both). Every request is kept; what a client must not do is in ``violations``.
///
/// ```swift
/// let ca = try ScriptedCA(in: directory)
/// ca.on(.newOrder, calls: 1...1, .reply(.problem("rateLimited", status: 429).retryAfter(seconds: 90)))
/// ca.on(.finalize, .loseReply)
/// ```
package final class ScriptedCA: Sendable {
    /// Of its directory resource.
    package let directoryURL: String
    /// PEM file of the root to trust for the connection.
    package let caFile: String
    /// PEM file of the root of what it issues, with the alternates behind it.
    package let anchorsFile: String
    /// What it issues with.
    package let pki: TestPKI
    let base: String
    /// Other roots, and the intermediate as each of them has signed it.
    let alternates: [(root: Certificate, intermediate: Certificate)]
    let state: Mutex<State>
    private let listener: Mutex<TLSListener?>

    /// Starts it.
    ///
    /// - Parameter alternateRoots: how many more chains there are for each certificate.
    package init(
        in directory: TemporaryDirectory, alternateRoots: Int = 0, _ behaviour: Behaviour = Behaviour()
    ) throws {
        let port = try LoopbackPort.reserve()
        base = "https://127.0.0.1:\(port)"
        directoryURL = "\(base)/directory"
        let pki = try TestPKI()
        self.pki = pki
        alternates = try (0..<alternateRoots).map { try Self.alternate($0 + 1, of: pki) }
        let roots = [pki.root.certificate] + alternates.map(\.root)
        anchorsFile = try directory.write(roots.map(\.pem).joined(), to: "scripted-\(port)-roots.pem")
        let server = try TestPKI()
        caFile = try directory.write(server.root.certificate.pem, to: "scripted-\(port)-ca.pem")
        let identity = try server.leaf(["localhost", "127.0.0.1"])
        state = Mutex(State(behaviour: behaviour))
        listener = Mutex(nil)
        guard let address = SocketAddress("127.0.0.1:\(port)") else { throw POSIXError(.EADDRNOTAVAIL) }
        let chain = [identity.certificate, server.intermediate.certificate]
        let started = try TLSListener(
            address, choose: { _ in TLSListener.Identity(chain: chain, key: identity.key) },
            handle: { [weak self] in self?.serve($0) })
        listener.withLock { $0 = started }
    }

    deinit { stop() }

    /// Ends it; clients are refused the connection. Blocking, for a moment.
    package func stop() { listener.withLock { $0.take() }?.stop() }

    // MARK: The script

    package var behaviour: Behaviour {
        get { state.withLock { $0.behaviour } }
        set { state.withLock { $0.behaviour = newValue } }
    }

    /// Adds a rule; of several that fit a request, the last that was added counts.
    ///
    /// - Parameter calls: numbers of requests for the resource since the start, from 1.
    package func on(_ resource: Resource, calls: ClosedRange<Int> = 1...Int.max, _ act: Act) {
        on(resource, calls: calls) { _ in act }
    }

    /// As above, decided for each request.
    package func on(
        _ resource: Resource, calls: ClosedRange<Int> = 1...Int.max, _ act: @escaping @Sendable (Request) -> Act
    ) {
        state.withLock { $0.rules.append(ScriptRule(resource: resource, numbers: calls, act: act)) }
    }

    /// As ``on(_:calls:_:)``, for the next `count` requests.
    package func next(_ count: Int, _ resource: Resource, _ act: Act) {
        state.withLock { state in
            let first = (state.counts[resource] ?? 0) + 1
            state.rules.append(ScriptRule(resource: resource, numbers: first...(first + count - 1)) { _ in act })
        }
    }

    /// Forgets every rule; what was done stays done.
    package func clearScript() { state.withLock { $0.rules = [] } }

    /// Forgets every account, order and certificate, as a test CA does once in a while.
    package func wipe() { state.withLock { $0.wipe() } }

    // MARK: What was seen

    package var requests: [Request] { state.withLock { $0.requests } }
    package func requests(_ resource: Resource) -> [Request] { requests.filter { $0.resource == resource } }
    /// What the client did and must not do: a nonce used twice, a wrong `url`, a signature of no possible form…
    package var violations: [String] { state.withLock { $0.violations } }
    /// The leaves that were signed, in order.
    package var issued: [Certificate] { state.withLock { $0.issued } }
    /// Reasons (RFC 5280 §5.3.1) by serial, lower-case hexadecimal.
    package var revoked: [String: Int] { state.withLock { $0.revoked } }
    /// URLs of the accounts that are there, with their status.
    package var accounts: [String: String] {
        state.withLock { state in
            Dictionary(uniqueKeysWithValues: state.accounts.map { (url(.account, $0.key), $0.value.status) })
        }
    }
    /// The status of each authorization, in the order in which they were made.
    package var authorizations: [String] {
        state.withLock { state in state.authorizations.sorted { $0.key < $1.key }.map(\.value.status) }
    }

    /// An absolute URL of this CA; `path` begins with a slash.
    package func url(_ path: String) -> String { base + path }

    func url(_ resource: Resource, _ arguments: any CustomStringConvertible...) -> String {
        ([base, resource.rawValue] + arguments.map(\.description)).joined(separator: "/")
    }

    private static func alternate(
        _ number: Int, of pki: TestPKI
    ) throws -> (root: Certificate, intermediate: Certificate) {
        var template = CertificateTemplate(
            subject: Subject(commonName: "Alternate Root \(number)", organization: "Test"),
            notBefore: pki.now.addingTimeInterval(-365 * 86400), notAfter: pki.now.addingTimeInterval(3650 * 86400),
            keyUsage: [.keyCertSign, .cRLSign])
        template.basicConstraints = .authority(pathLength: nil)
        template.extendedKeyUsage = []
        let key = try PrivateKey.generate(.ecdsaP256)
        let root = try template.sign(publicKey: key.publicKeyDER, issuer: nil, key: key)
        template.subject = Subject(commonName: "Test Intermediate", organization: "Test")
        template.basicConstraints = .authority(pathLength: 0)
        let intermediate = try template.sign(
            publicKey: pki.intermediate.key.publicKeyDER, issuer: root, key: key)
        return (root, intermediate)
    }
}
