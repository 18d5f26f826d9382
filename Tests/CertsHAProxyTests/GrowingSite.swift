import CertsCore
import CertsCrypto
import CertsTesting
import Foundation

@testable import CertsHAProxy

/// A real HAProxy with a list that can grow, and a bundle that it does not have yet.
struct GrowingSite {
    static let newHost = "new.example.com"

    let site: Site
    let haproxy: RealHAProxy
    let list: StoreName
    let name: StoreName
    let new: StagedBundle

    /// A `crt-list` file with the site's first bundle; more lines may follow it.
    static func crtList(_ lines: String = "", file: String = "certs/new.pem", global: String = "") async throws
        -> GrowingSite
    {
        let site = try Site()
        let path = try site.directory.write("# ours\n\(site.path)\n\(lines)", to: "site.list")
        let haproxy = try await RealHAProxy.start(in: site.directory, bind: "crt-list \(path)", global: global)
        return try GrowingSite(site, haproxy, list: path, path: site.directory.path(file))
    }

    /// A `crt` directory with the site's first bundle.
    static func directory() async throws -> GrowingSite {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.directory.path("certs") + "/"])
        return try GrowingSite(
            site, haproxy, list: site.directory.path("certs"), path: site.directory.path("certs/new.pem"))
    }

    private init(_ site: Site, _ haproxy: RealHAProxy, list: String, path: String) throws {
        self.site = site
        self.haproxy = haproxy
        self.list = try StoreName(list)
        name = try CrtListSession.storeName(for: path, in: self.list)
        new = try site.bundle(2, names: [Self.newHost])
    }

    /// A node without a list.
    static func node(_ site: Site, _ haproxy: RealHAProxy, bundle: String) throws -> NodeDeclaration {
        try NodeDeclaration(
            name: "loadbalancer", bundle: site.directory.path(bundle), reload: .runtime(socket: haproxy.socket),
            endpoints: [Endpoint(host: "127.0.0.1", port: haproxy.port, serverName: newHost)])
    }

    /// A node that may add the new bundle to the list.
    /// - Parameter socket: `nil`: that of HAProxy.
    func declaration(socket: String? = nil, options: String? = nil, filters: [String] = []) throws -> NodeDeclaration {
        var declaration = try NodeDeclaration(
            name: "loadbalancer", bundle: name.rawValue, reload: .runtime(socket: socket ?? haproxy.socket),
            endpoints: [Endpoint(host: "127.0.0.1", port: haproxy.port, serverName: Self.newHost)])
        declaration.list = ListDeclaration(path: list.rawValue, options: options, filters: filters)
        return declaration
    }

    var lists: CrtListSession { Self.lists(at: haproxy.socket) }

    static func lists(at socket: String) -> CrtListSession {
        CrtListSession(
            session: RuntimeSession(
                connection: RuntimeConnection(socket: socket, deadline: .seconds(5)), logger: Site.logger))
    }

    /// What one fresh handshake for the new name shows.
    var served: Fingerprint {
        get async throws { try await Site.served(haproxy.port, serverName: Self.newHost) }
    }

    /// The lines of the list that name the new certificate.
    func entries() async throws -> [RuntimeReply.CrtListEntry] {
        try await lists.entries(of: list).filter { $0.name == name.rawValue }
    }

    func transaction() async throws -> String? { try await lists.session.list().openTransaction }

    /// The whole way in, as a target goes it.
    func deploy(_ terms: CrtListTerms = .none, through lists: CrtListSession? = nil) async throws {
        let lists = lists ?? self.lists
        try await lists.createStore(name, bundle: new.pem, leaf: new.leaf)
        try await lists.addEntry(name, terms, to: list)
    }

    /// The whole way out.
    func withdraw(through lists: CrtListSession? = nil) async throws {
        let lists = lists ?? self.lists
        try await lists.removeEntry(name, from: list)
        try await lists.removeStore(name)
    }
}
