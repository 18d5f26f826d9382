import CertsCore
import CertsCrypto
import Foundation

/// lego: `certificates/NAME.{crt,key,json}`, `accounts/HOST/EMAIL/{account.json,keys/EMAIL.key}`.
struct LegoFolder {
    let folder: ForeignFolder
    /// lego keeps the host of the CA, and not the path of its directory.
    let server: String?

    func read(into survey: inout ForeignSurvey) {
        for host in folder.folders("accounts") {
            for email in folder.folders("accounts/\(host)") { readAccount(host, email, into: &survey) }
        }
        let suffix = ".key"
        for file in folder.names("certificates") where file.hasSuffix(suffix) {
            readCertificate(String(file.dropLast(suffix.count)), into: &survey)
        }
    }

    private func readAccount(_ host: String, _ email: String, into survey: inout ForeignSurvey) {
        let place = "accounts/\(host)/\(email)"
        let account = (try? folder.read("\(place)/account.json")).flatMap { $0 }.flatMap(ForeignJSON.init)
        let registration = account?["registration"]
        // `_` stands for the colon before a port.
        let authority = host.map { $0 == "_" ? ":" : String($0) }.joined()
        survey.addAccount(
            "\(host)/\(email)", at: "\(place)/keys/\(email).key", server: directory(authority: authority),
            url: registration?.text("uri"), contact: registration?["body"]?.texts("contact") ?? [], in: folder
        ) { () throws(CertsError) in
            try folder.read("\(place)/keys/\(email).key").map { (pem) throws(CertsError) in try PrivateKey(pem: pem) }
        }
    }

    private func readCertificate(_ name: String, into survey: inout ForeignSurvey) {
        let place = "certificates/\(name).crt"
        survey.collect(at: folder.path(place)) { (survey) throws(CertsError) in
            let json = try folder.read("certificates/\(name).json").flatMap(ForeignJSON.init)
            var certificates = try folder.read(place)
            // `--no-bundle` leaves the chain in a file of its own.
            if let leaf = certificates, let issuer = try folder.read("certificates/\(name).issuer.crt"),
                (try? CertificateReader.certificates(in: leaf.withBytes { Data($0) }).count) == 1
            {
                certificates = leaf.withBytes { leaf in issuer.withBytes { Secret(copying: Array(leaf) + Array($0)) } }
            }
            guard json != nil || certificates != nil else { return }
            let url = json?.text("certStableUrl") ?? json?.text("certUrl")
            guard let server = url.flatMap(ForeignServer.authority).flatMap({ directory(authority: $0) }) ?? server
            else {
                throw ForeignServer.unknown("lego")
            }
            survey.add(
                json?.text("domain") ?? name, at: place, certificates: certificates,
                key: try folder.read("certificates/\(name).key"), ForeignSettings(server: server), in: folder)
        }
    }

    /// Of a known CA, or the one that was named, if it is at that host.
    private func directory(authority: String) -> String? {
        if let server, ForeignServer.authority(server) == authority { return server }
        return ForeignServer.url(host: authority)
    }
}
