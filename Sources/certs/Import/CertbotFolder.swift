import CertsCore
import CertsCrypto
import CertsIssuers
import Foundation

/// certbot: `renewal/NAME.conf`, `live/NAME/` (links into `archive/`), `accounts/HOST/PATH/ID/`.
struct CertbotFolder {
    let folder: ForeignFolder

    func read(into survey: inout ForeignSurvey) {
        readAccounts("accounts", into: &survey)
        let suffix = ".conf"
        for file in folder.names("renewal") where file.hasSuffix(suffix) {
            readCertificate(String(file.dropLast(suffix.count)), into: &survey)
        }
    }

    private func readCertificate(_ name: String, into survey: inout ForeignSurvey) {
        let place = "live/\(name)"
        survey.collect(at: folder.path(place)) { (survey) throws(CertsError) in
            let sections = ForeignText.sections(try folder.text("renewal/\(name).conf") ?? "")
            survey.add(
                name, at: "\(place)/fullchain.pem", certificates: try folder.read("\(place)/fullchain.pem"),
                key: try folder.read("\(place)/privkey.pem"), Self.settings(sections), in: folder)
        }
    }

    static func settings(_ sections: [String: [String: String]]) -> ForeignSettings {
        let parameters = sections["renewalparams"] ?? [:]
        var settings = ForeignSettings(server: parameters["server"], account: parameters["account"])
        settings.renewBefore = sections[""]?["renew_before_expiry"].flatMap(ForeignText.duration)
        settings.reusesKey = parameters["reuse_key"] == "True"
        settings.preferredChain = parameters["preferred_chain"].flatMap { $0 == "None" ? nil : $0 }
        settings.profile = parameters["required_profile"] ?? parameters["preferred_profile"]
        settings.isProfileRequired = parameters["required_profile"] != nil
        switch parameters["authenticator"] {
        case "webroot":
            let roots = Set((sections["renewalparams/webroot_map"] ?? [:]).values)
            let listed = parameters["webroot_path"]?.split(separator: ",").first.map {
                $0.trimmingCharacters(in: .whitespaces)
            }
            let root = roots.sorted().first ?? listed
            settings.challenge = root.map { .directory("\($0)/.well-known/acme-challenge") }
        case "standalone":
            settings.challenge = .http(
                address: parameters["http01_address"], port: parameters["http01_port"].flatMap { Int($0) })
        case let name? where name.contains("dns"):
            settings.challenge = .dns(name)
        case "manual" where parameters["pref_challs"]?.contains("dns") == true:
            settings.challenge = .dns("manual")
        default: break
        }
        return settings
    }

    // MARK: Accounts

    /// The path between `accounts` and an account is that of the directory's URL.
    private func readAccounts(_ place: String, into survey: inout ForeignSurvey, depth: Int = 0) {
        for name in folder.folders(place) where depth < 8 {
            let below = "\(place)/\(name)"
            guard folder.names(below).contains("private_key.json") else {
                readAccounts(below, into: &survey, depth: depth + 1)
                continue
            }
            let server = "https://" + place.split(separator: "/").dropFirst().joined(separator: "/")
            let registration = (try? folder.read("\(below)/regr.json")).flatMap { $0 }.flatMap(ForeignJSON.init)
            survey.addAccount(
                name, at: "\(below)/private_key.json", server: server, url: registration?.text("uri"),
                contact: registration?["body"]?.texts("contact") ?? [], in: folder
            ) { () throws(CertsError) in
                guard let file = try folder.read("\(below)/private_key.json") else { return nil }
                return try ForeignJSON.webKey(file)
            }
        }
    }
}
