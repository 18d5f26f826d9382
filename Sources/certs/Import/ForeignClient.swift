import ArgumentParser
import CertsCore
import Foundation

/// An ACME client whose directory can be taken over.
enum ForeignClient: String, CaseIterable, ExpressibleByArgument, Sendable, Codable {
    case certbot, lego
    case acmeSh = "acme.sh"
    case caddy, uacme, dehydrated

    /// Reads the directory. Blocking.
    ///
    /// - Parameter server: the directory URL of the CA, for clients that do not keep it.
    func survey(_ folder: ForeignFolder, server: String?) -> ForeignSurvey {
        var survey = ForeignSurvey()
        switch self {
        case .certbot: CertbotFolder(folder: folder).read(into: &survey)
        case .lego: LegoFolder(folder: folder, server: server).read(into: &survey)
        case .acmeSh: AcmeShFolder(folder: folder).read(into: &survey)
        case .caddy: CaddyFolder(folder: folder, server: server).read(into: &survey)
        case .uacme: UacmeFolder(folder: folder, server: server).read(into: &survey)
        case .dehydrated: DehydratedFolder(folder: folder, server: server).read(into: &survey)
        }
        return survey
    }

    /// Where its directory usually is, for messages.
    var usualPlace: String {
        switch self {
        case .certbot: "/etc/letsencrypt"
        case .lego: "the .lego directory (--path)"
        case .acmeSh: "~/.acme.sh"
        case .caddy: "~/.local/share/caddy, or /var/lib/caddy/.local/share/caddy"
        case .uacme: "/etc/ssl/uacme"
        case .dehydrated: "/var/lib/dehydrated"
        }
    }
}

/// The directories of CAs by what clients keep of them.
enum ForeignServer {
    /// The directory URL of a CA whose host (with its port, if it has one) is known.
    static func url(host: String) -> String? {
        KnownDirectory.allCases.first { URLComponents(string: $0.url)?.host == host }?.url
    }

    /// Of the host in any URL of the CA.
    static func url(of resource: String) -> String? {
        URLComponents(string: resource)?.host.flatMap { url(host: $0) }
    }

    /// The host of a URL, with its port if it says one.
    static func authority(_ url: String) -> String? {
        guard let parts = URLComponents(string: url), let host = parts.host else { return nil }
        return parts.port.map { "\(host):\($0)" } ?? host
    }

    static func unknown(_ client: String) -> CertsError {
        CertsError(
            .configurationInvalid, "\(client) does not keep the address of the CA's directory",
            hint: "name it: --server https://…")
    }
}
