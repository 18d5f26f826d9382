import Foundation

// `revision.json` as it was written while a certificate had one key: read, and never written again.

extension RevisionManifest {
    private enum EarlierKey: String, CodingKey {
        case record
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let earlier = try decoder.container(keyedBy: EarlierKey.self)
        var records = try container.decodeIfPresent([CertificateRecord].self, forKey: .records) ?? []
        if records.isEmpty, let only = try earlier.decodeIfPresent(CertificateRecord.self, forKey: .record) {
            records = [only]
        }
        self.init(
            certificate: try container.decode(Name.self, forKey: .certificate),
            revision: try container.decode(Int.self, forKey: .revision),
            requested: try container.decode(RequestedProperties.self, forKey: .requested), records: records,
            issuedAt: try container.decode(Date.self, forKey: .issuedAt),
            // The history of an earlier form is worth less than the revision.
            rotation: earlier.contains(.record) ? nil : try container.decodeIfPresent(Rotation.self, forKey: .rotation))
        schema = try container.decode(Int.self, forKey: .schema)
        revocation = try container.decodeIfPresent(Revocation.self, forKey: .revocation)
        keyCompromisedAt = try container.decodeIfPresent(Date.self, forKey: .keyCompromisedAt)
    }
}

extension RequestedProperties {
    private enum EarlierKey: String, CodingKey {
        case keyAlgorithm
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let earlier = try decoder.container(keyedBy: EarlierKey.self)
        let only = try earlier.decodeIfPresent(KeyAlgorithm.self, forKey: .keyAlgorithm)
        self.init(
            subject: try container.decode(Subject.self, forKey: .subject),
            names: try container.decode([AlternativeName].self, forKey: .names),
            keyAlgorithms: try only.map { [$0] } ?? container.decode([KeyAlgorithm].self, forKey: .keyAlgorithms),
            issuer: try container.decode(Name.self, forKey: .issuer))
    }
}
