import CertsCore
import CertsCrypto
import Foundation

/// Caddy: `certificates/ISSUER/NAME/NAME.{crt,key,json}`, `acme/ISSUER/users/EMAIL/USER.{key,json}`.
struct CaddyFolder {
    let folder: ForeignFolder
    /// Older versions keep the directory's URL with other characters in place of `/` and `:` only.
    let server: String?

    func read(into survey: inout ForeignSurvey) {
        for issuer in folder.folders("acme") {
            for user in folder.folders("acme/\(issuer)/users") {
                readAccount(issuer, "acme/\(issuer)/users/\(user)", into: &survey)
            }
        }
        // `local` is Caddy's own CA, which issues for hours.
        for issuer in folder.folders("certificates") where issuer != "local" {
            for name in folder.folders("certificates/\(issuer)") {
                readCertificate(issuer, "certificates/\(issuer)/\(name)", name, into: &survey)
            }
        }
    }

    private func readAccount(_ issuer: String, _ place: String, into survey: inout ForeignSurvey) {
        for file in folder.names(place) where file.hasSuffix(".key") {
            let json = (try? folder.read("\(place)/\(file.dropLast(4)).json")).flatMap { $0 }.flatMap(ForeignJSON.init)
            survey.addAccount(
                "\(place)/\(file)", at: "\(place)/\(file)", server: directory(issuer), url: json?.text("location"),
                contact: json?.texts("contact") ?? [], in: folder
            ) { () throws(CertsError) in
                try folder.read("\(place)/\(file)").map { (pem) throws(CertsError) in try PrivateKey(pem: pem) }
            }
        }
    }

    private func readCertificate(
        _ issuer: String, _ place: String, _ name: String, into survey: inout ForeignSurvey
    ) {
        survey.collect(at: folder.path(place)) { (survey) throws(CertsError) in
            let json = try folder.read("\(place)/\(name).json").flatMap(ForeignJSON.init)
            guard let server = json?["issuer_data"]?.text("ca") ?? directory(issuer) else {
                throw ForeignServer.unknown("Caddy")
            }
            survey.add(
                json?.texts("sans").first ?? name, at: "\(place)/\(name).crt",
                certificates: try folder.read("\(place)/\(name).crt"), key: try folder.read("\(place)/\(name).key"),
                ForeignSettings(server: server), in: folder)
        }
    }

    /// The URL that gives this name of a folder.
    private func directory(_ issuer: String) -> String? {
        ([server].compactMap { $0 } + KnownDirectory.allCases.map(\.url)).first { Self.folderName($0) == issuer }
    }

    /// Host and path of the URL, with `-` in place of what a file name cannot have.
    static func folderName(_ url: String) -> String? {
        guard let authority = ForeignServer.authority(url), let path = URLComponents(string: url)?.path else {
            return nil
        }
        let name = "\(authority)\(path)".lowercased().map { $0 == "/" || $0 == ":" ? "-" : $0 }
        return String(name)
    }
}
