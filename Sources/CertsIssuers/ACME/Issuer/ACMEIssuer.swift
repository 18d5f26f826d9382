package import CertsCore
package import Foundation
package import Logging

/// Certificates from an ACME CA (RFC 8555).
package struct ACMEIssuer: Issuer {
    package let name: Name
    let declaration: ACMEDeclaration
    let anchors: [Data]
    let files: any IssuerFiles
    let logger: Logger

    /// - Parameter anchors: DER of the roots that what it issues must chain to; empty: not checked.
    package init(
        name: Name, declaration: ACMEDeclaration, anchors: [Data], files: any IssuerFiles, logger: Logger
    ) {
        self.name = name
        self.declaration = declaration
        self.anchors = anchors
        self.files = files
        self.logger = logger
    }

    package func trustAnchors() async throws -> [Data] { anchors }

    package func issue(_ request: IssuanceRequest) async throws -> IssuanceOutcome {
        throw CertsError(.issuerUnavailable, "not here yet", retry: .later)
    }
}
