/// The subject of a certificate that we ask for: the attributes that the configuration knows (RFC 5280 §4.1.2.6).
///
/// The order in which the attributes are encoded is country, state, locality, organization, organizational unit,
/// common name: the order that CAs use.
package struct Subject: Sendable, Hashable, Codable {
    package var commonName: String?
    package var organization: String?
    package var organizationalUnit: String?
    package var locality: String?
    package var state: String?
    /// Two letters, ISO 3166.
    package var country: String?

    package init(
        commonName: String? = nil, organization: String? = nil, organizationalUnit: String? = nil,
        locality: String? = nil, state: String? = nil, country: String? = nil
    ) {
        self.commonName = commonName
        self.organization = organization
        self.organizationalUnit = organizationalUnit
        self.locality = locality
        self.state = state
        self.country = country
    }

    package var isEmpty: Bool { self == Subject() }
}
