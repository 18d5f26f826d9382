/// Why a certificate is, or will become, due. The raw value is stable: it stands in JSON, history and metrics.
package enum PlanReason: String, Sendable, Hashable, Codable, CaseIterable {
    case notIssued = "not-issued"
    case unreadable
    case issuerChanged = "issuer-changed"
    case namesChanged = "names-changed"
    case subjectChanged = "subject-changed"
    case keyChanged = "key-changed"
    case expired
    case undeployed
    case notServed = "not-served"
    case issuerHint = "issuer-hint"
    case beforeExpiry = "before-expiry"
    case thirdOfLifetime = "third-of-lifetime"
    case halfOfLifetime = "half-of-lifetime"
    case requested
    case compromised
    case drift
    case staple
    case waiting

    /// The reason as a sentence for people.
    package var explanation: String {
        switch self {
        case .notIssued: "no certificate has been issued yet"
        case .unreadable: "the files of the current revision cannot be read"
        case .issuerChanged: "the declared issuer is another one"
        case .namesChanged: "the declared names are others"
        case .subjectChanged: "the declared subject is another one"
        case .keyChanged: "the declared key algorithm is another one"
        case .expired: "the certificate has expired"
        case .undeployed: "an issued certificate is not deployed yet"
        case .notServed: "an endpoint serves another certificate"
        case .issuerHint: "the CA asks for the renewal at this time"
        case .beforeExpiry: "the declared time before expiry"
        case .thirdOfLifetime: "a third of the lifetime before expiry"
        case .halfOfLifetime: "half of the lifetime before expiry"
        case .requested: "asked for by hand"
        case .compromised: "the key is no longer a secret"
        case .drift: "something else was found in its place"
        case .staple: "the stapled OCSP response is to be fetched anew"
        case .waiting: "the issuer has not answered yet"
        }
    }
}
