/// Domains under which the public registers names (BR 3.2.2.6): a wildcard there would cover strangers.
///
/// An excerpt: the second-level registries and the big shared hosts. The whole list changes weekly and does not belong
/// into a binary; a suffix that is missing here is one that an issuer has to refuse.
enum PublicSuffix {
    /// - Parameter hosts: the DNS names of the certificate, in lower case.
    /// - Returns: the public suffix that `name` covers with a wildcard, or `nil`.
    static func covered(by name: GeneralName, among hosts: Set<[UInt8]>) -> String? {
        guard case .dns(let bytes) = name, bytes.starts(with: "*.".utf8) else { return nil }
        let base = String(decoding: NameSyntax.lowercased(bytes.dropFirst(2)), as: UTF8.self)
        if isRegistry(base) { return base }
        guard shared.contains(base) else { return nil }
        // Whoever got the suffix itself certified has shown control of all that is below it, and may cover it.
        return hosts.contains(Array(base.utf8)) ? nil : base
    }

    /// Whether the domain is a suffix of the excerpt.
    static func isKnown(_ domain: String) -> Bool { isRegistry(domain) || shared.contains(domain) }

    private static func isRegistry(_ domain: String) -> Bool {
        let labels = domain.split(separator: ".")
        return labels.count == 2 && labels[1].count == 2
            && registries[String(labels[1])]?.contains(String(labels[0])) == true
    }

    private static let shared: Set<String> = [
        "amazonaws.com", "s3.amazonaws.com", "elb.amazonaws.com", "cloudfront.net", "elasticbeanstalk.com",
        "herokuapp.com",
        "azurewebsites.net", "cloudapp.net", "blob.core.windows.net", "appspot.com", "run.app", "web.app",
        "firebaseapp.com", "github.io", "gitlab.io", "pages.dev", "workers.dev", "netlify.app", "vercel.app", "fly.dev",
        "onrender.com", "blogspot.com", "wordpress.com", "ngrok.io", "duckdns.org", "dyndns.org", "no-ip.org",
        "in-addr.arpa", "ip6.arpa", "uk.com", "us.com", "eu.com", "de.com", "co.com",
    ]

    private static let registries: [String: Set<String>] = [
        "uk": ["co", "org", "me", "ltd", "plc", "net", "sch", "ac", "gov", "nhs", "police"],
        "jp": ["co", "or", "ne", "ac", "ad", "ed", "go", "gr", "lg"],
        "au": ["com", "net", "org", "edu", "gov", "asn", "id"],
        "nz": ["co", "net", "org", "ac", "govt", "geek", "gen", "school"],
        "za": ["co", "net", "org", "ac", "gov", "web"],
        "br": ["com", "net", "org", "gov", "edu"],
        "cn": ["com", "net", "org", "gov", "edu", "ac"],
        "tw": ["com", "net", "org", "gov", "edu", "idv"],
        "hk": ["com", "net", "org", "gov", "edu", "idv"],
        "kr": ["co", "or", "ne", "re", "pe", "go", "ac"],
        "in": ["co", "net", "org", "firm", "gen", "ind", "ac", "edu", "gov", "nic"],
        "sg": ["com", "net", "org", "edu", "gov"],
        "my": ["com", "net", "org", "edu", "gov"],
        "th": ["co", "or", "in", "ac", "go", "net"],
        "id": ["co", "or", "web", "ac", "go", "sch"],
        "tr": ["com", "net", "org", "edu", "gov"],
        "mx": ["com", "net", "org", "edu", "gob"],
        "ar": ["com", "net", "org", "edu", "gob"],
        "co": ["com", "net", "org", "edu", "gov"],
        "il": ["co", "org", "net", "ac", "gov", "muni"],
        "pl": ["com", "net", "org", "edu", "gov"],
        "ua": ["com", "net", "org", "edu", "gov"],
        "ru": ["com", "net", "org"],
        "es": ["com", "nom", "org", "gob", "edu"],
        "at": ["co", "or", "ac", "gv"],
        "hu": ["co", "org"],
    ]
}
