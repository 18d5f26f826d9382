import CertsCore
import CertsCrypto
import Foundation

/// uacme: `NAME/cert.pem`, `private/NAME/key.pem`, `private/key.pem` (the account's).
struct UacmeFolder {
    let folder: ForeignFolder
    /// uacme is told the directory at each call, and keeps nothing of it.
    let server: String?

    func read(into survey: inout ForeignSurvey) {
        var found: Set<String> = []
        for name in folder.folders("private") {
            let place = "\(name)/cert.pem"
            survey.collect(at: folder.path(place)) { (survey) throws(CertsError) in
                let certificates = try folder.read(place)
                guard let server = server ?? Self.directory(ofIssuer: certificates) else {
                    throw ForeignServer.unknown("uacme")
                }
                found.insert(server)
                survey.add(
                    name, at: place, certificates: certificates, key: try folder.read("private/\(name)/key.pem"),
                    ForeignSettings(server: server), in: folder)
            }
        }
        // One key for whatever CA it was used with.
        for server in server.map({ [$0] }) ?? found.sorted() {
            survey.addAccount(
                server, at: "private/key.pem", server: server, url: nil, contact: [], in: folder
            ) { () throws(CertsError) in
                try folder.read("private/key.pem").map { (pem) throws(CertsError) in try PrivateKey(pem: pem) }
            }
        }
    }

    /// Let's Encrypt, the default of uacme, by the name in its certificates.
    private static func directory(ofIssuer certificates: Secret?) -> String? {
        let record = certificates.flatMap { text in
            try? text.withBytes { try CertificateReader.firstRecord(in: Data($0)) }
        }
        guard let issuer = record?.issuer, issuer.contains("Let's Encrypt") else { return nil }
        return issuer.contains("STAGING") ? KnownDirectory.letsEncryptStaging.url : KnownDirectory.letsEncrypt.url
    }
}
