import CertsCore
import CertsCrypto
import CertsIssuers
import Foundation

/// dehydrated: `certs/NAME/{fullchain,privkey}.pem` (links), `accounts/BASE64URL-OF-DIRECTORY/`, `config`.
struct DehydratedFolder {
    let folder: ForeignFolder
    /// The CA, where its configuration does not name one that we know.
    let server: String?

    func read(into survey: inout ForeignSurvey) {
        var servers: [String] = []
        for name in folder.folders("accounts") {
            guard let url = Base64URL.decode(name).flatMap({ String(data: $0, encoding: .utf8) }) else { continue }
            let server = url.trimmingCharacters(in: .whitespacesAndNewlines)
            servers.append(server)
            readAccount("accounts/\(name)", server, into: &survey)
        }
        let settings = settings(servers)
        for name in folder.folders("certs") {
            let place = "certs/\(name)/fullchain.pem"
            survey.collect(at: folder.path(place)) { (survey) throws(CertsError) in
                guard settings.server != nil else { throw ForeignServer.unknown("dehydrated") }
                survey.add(
                    name, at: place, certificates: try folder.read(place),
                    key: try folder.read("certs/\(name)/privkey.pem"), settings, in: folder)
            }
        }
    }

    private func readAccount(_ place: String, _ server: String, into survey: inout ForeignSurvey) {
        let id = (try? folder.read("\(place)/account_id.json")).flatMap { $0 }.flatMap(ForeignJSON.init)
        let registration = (try? folder.read("\(place)/registration_info.json")).flatMap { $0 }.flatMap(
            ForeignJSON.init)
        survey.addAccount(
            server, at: "\(place)/account_key.pem", server: server, url: id?.text("url"),
            contact: registration?.texts("contact") ?? [], in: folder
        ) { () throws(CertsError) in
            try folder.read("\(place)/account_key.pem").map { (pem) throws(CertsError) in try PrivateKey(pem: pem) }
        }
    }

    /// What `config` says for all certificates; Debian keeps that file elsewhere.
    private func settings(_ servers: [String]) -> ForeignSettings {
        let config = ForeignText.assignments((try? folder.text("config")).flatMap { $0 } ?? "")
        func plain(_ name: String) -> String? {
            let value = config[name]?.replacing("${BASEDIR}", with: config["BASEDIR"] ?? "${BASEDIR}")
            return value.flatMap { $0.contains("$") || $0.isEmpty ? nil : $0 }
        }
        var settings = ForeignSettings(server: plain("CA").flatMap(Self.directory) ?? server ?? only(servers))
        settings.renewBefore = plain("RENEW_DAYS").flatMap { Int32($0) }.map { TimeInterval($0) * 86400 }
        settings.reusesKey = plain("PRIVATE_KEY_RENEW") == "no"
        settings.preferredChain = plain("PREFERRED_CHAIN")
        switch plain("CHALLENGETYPE") ?? "http-01" {
        case "dns-01": settings.challenge = .dns("hook \(plain("HOOK") ?? "")".trimmingCharacters(in: .whitespaces))
        case "tls-alpn-01": settings.challenge = .tlsALPN(address: nil, port: nil)
        default: settings.challenge = plain("WELLKNOWN").map { .directory($0) }
        }
        return settings
    }

    /// With accounts at several CAs nothing says which one the certificates are from: staging is none for production.
    private func only(_ servers: [String]) -> String? { servers.count == 1 ? servers.first : nil }

    /// dehydrated has words of its own for some CAs.
    private static func directory(_ word: String) -> String? {
        switch word {
        case "letsencrypt": KnownDirectory.letsEncrypt.url
        case "letsencrypt-test": KnownDirectory.letsEncryptStaging.url
        case "zerossl": KnownDirectory.zeroSSL.url
        default: word.hasPrefix("https://") ? word : nil
        }
    }
}
