import CertsCore
import CertsTesting
import Foundation

@testable import CertsHAProxy

/// A HAProxy that loads a directory, into which a test can put what it cannot load.
final class ReloadSite {
    let site: Site
    let haproxy: RealHAProxy
    let heldSocket: String

    init(isMaster: Bool = true, masterOptions: String = "") async throws {
        site = try Site()
        heldSocket = site.directory.path("held.sock")
        haproxy = try await RealHAProxy.start(
            in: site.directory, crt: [site.directory.path("certs")], isMaster: isMaster,
            global: HeldConnection.sections(socket: heldSocket), masterOptions: masterOptions)
    }

    /// Replaces what is served at the next load.
    func install(_ bundle: StagedBundle) throws { try bundle.pem.data.write(to: URL(filePath: site.path)) }

    /// With this file no load succeeds.
    func breakTheFiles() throws { try site.directory.write("not a certificate", to: "certs/z.pem") }
    func mendTheFiles() { unlink(site.directory.path("certs/z.pem")) }

    var served: Fingerprint { get async throws { try await Site.served(haproxy.port) } }

    /// Waits, within bounds, for something that takes its moment.
    static func eventually(_ condition: () async throws -> Bool) async throws -> Bool {
        for _ in 0..<1000 {
            if try await condition() { return true }
            try await Task.sleep(for: .milliseconds(10))
        }
        return false
    }
}
