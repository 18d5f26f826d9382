package import CertsCore
package import Foundation

/// The checks of what an issuer returned, before anything is staged.
package enum BundleChecks {
    package static func findings(
        chain: [Certificate], keySPKI: Data?, names: [AlternativeName], anchors: [Certificate],
        keyAlgorithm: KeyAlgorithm?, now: Date
    ) -> [Finding] {
        []
    }
}
