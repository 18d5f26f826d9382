import CertsCore
import CertsCrypto
import Foundation

/// acme.sh: `NAME/` or `NAME_ecc/` with `NAME.{conf,key,cer}` and `fullchain.cer`; `ca/HOST/PATH/account.key`.
struct AcmeShFolder {
    let folder: ForeignFolder

    func read(into survey: inout ForeignSurvey) {
        var servers: Set<String> = []
        for name in folder.folders() where name != "ca" {
            let domain = name.hasSuffix("_ecc") ? String(name.dropLast(4)) : name
            guard folder.names(name).contains("\(domain).conf") else { continue }
            if let server = readCertificate(domain, in: name, into: &survey) { servers.insert(server) }
        }
        readAccounts("ca", servers, into: &survey)
    }

    /// - Returns: the CA's directory.
    private func readCertificate(_ domain: String, in name: String, into survey: inout ForeignSurvey) -> String? {
        var server: String?
        survey.collect(at: folder.path(name)) { (survey) throws(CertsError) in
            let conf = ForeignText.assignments(try folder.text("\(name)/\(domain).conf") ?? "")
            var settings = ForeignSettings(server: conf["Le_API"])
            server = settings.server
            settings.account = settings.server.flatMap(Self.accountPlace)
            settings.challenge = Self.challenge(conf["Le_Webroot"] ?? "")
            settings.preferredChain = conf["Le_Preferred_Chain"].flatMap { $0.isEmpty ? nil : Self.decoded($0) }
            settings.profile = conf["Le_Certificate_Profile"].flatMap { $0.isEmpty ? nil : $0 }
            let certificates = try folder.read("\(name)/fullchain.cer")
            if let days = conf["Le_RenewalDays"].flatMap({ Int32($0) }), let certificates,
                let leaf = try? certificates.withBytes({ try CertificateReader.firstRecord(in: Data($0)) })
            {
                // Days after the issuance, or before the end where they are negative. Certificates are a second short of
                // whole days, so what is left is rounded up.
                let left = (leaf.lifetime / 86400).rounded(.up) - TimeInterval(days)
                let before = days < 0 ? -TimeInterval(days) : left
                settings.renewBefore = before > 0 ? before * 86400 : nil
            }
            survey.add(
                domain, at: "\(name)/fullchain.cer", certificates: certificates,
                key: try folder.read("\(name)/\(domain).key"), settings, in: folder)
        }
        return server
    }

    /// A directory, `no` (its own server), `alpn`, or the name of a DNS script; one for each name, of which we take the
    /// first.
    static func challenge(_ webroot: String) -> ForeignChallenge? {
        let first = webroot.split(separator: ",", omittingEmptySubsequences: false).first.map(String.init) ?? ""
        switch first {
        case "": return nil
        case "no": return .http(address: nil, port: nil)
        case "alpn": return .tlsALPN(address: nil, port: nil)
        case let script where script.hasPrefix("dns"): return .dns(script)
        case let directory where directory.hasPrefix("/"): return .directory("\(directory)/.well-known/acme-challenge")
        default: return nil
        }
    }

    /// Values with odd characters are kept in base64.
    static func decoded(_ value: String) -> String {
        let (start, end) = ("__ACME_BASE64__START_", "__ACME_BASE64__END_")
        guard value.hasPrefix(start), value.hasSuffix(end),
            let data = Data(base64Encoded: String(value.dropFirst(start.count).dropLast(end.count)))
        else { return value }
        return String(decoding: data, as: UTF8.self)
    }

    // MARK: Accounts

    /// `ca/HOST/PATH`, without the port.
    static func accountPlace(_ server: String) -> String? {
        guard let parts = URLComponents(string: server), let host = parts.host else { return nil }
        return "ca/\(host)\(parts.path)"
    }

    private func readAccounts(_ place: String, _ servers: Set<String>, into survey: inout ForeignSurvey, depth: Int = 0)
    {
        if folder.names(place).contains("account.key") {
            let conf = ForeignText.assignments((try? folder.text("\(place)/ca.conf")).flatMap { $0 } ?? "")
            let json = (try? folder.read("\(place)/account.json")).flatMap { $0 }.flatMap(ForeignJSON.init)
            let server = servers.first { Self.accountPlace($0) == place } ?? "https://\(place.dropFirst(3))"
            survey.addAccount(
                place, at: "\(place)/account.key", server: server, url: conf["ACCOUNT_URL"],
                contact: json?.texts("contact") ?? [], in: folder
            ) { () throws(CertsError) in
                try folder.read("\(place)/account.key").map { (pem) throws(CertsError) in try PrivateKey(pem: pem) }
            }
        }
        for name in folder.folders(place) where depth < 8 {
            readAccounts("\(place)/\(name)", servers, into: &survey, depth: depth + 1)
        }
    }
}
