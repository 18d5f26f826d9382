package import CertsCore

/// Whether the terms of a declared list can stand in one of its lines.
package enum ListTerms {
    /// - Returns: why not; `nil`: they can.
    package static func problem(_ list: ListDeclaration) -> CertsError? {
        do throws(CertsError) {
            _ = try CrtListTerms(options: list.options ?? "", filters: list.filters)
            return nil
        } catch {
            return error
        }
    }
}
