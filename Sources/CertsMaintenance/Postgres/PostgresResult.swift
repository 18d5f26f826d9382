import CLibPQ

/// The whole answer to one statement, as text.
package struct PostgresResult: Sendable {
    package let columns: [String]
    /// `nil`: NULL.
    package let rows: [[String?]]
    /// Of DELETE, UPDATE, INSERT: how many rows.
    package let affected: Int

    init(_ result: OpaquePointer) {
        let (height, width) = (PQntuples(result), PQnfields(result))
        columns = (0..<width).map { PQfname(result, $0).map { String(cString: $0) } ?? "" }
        rows = (0..<height).map { row in
            (0..<width).map { column in
                guard PQgetisnull(result, row, column) == 0, let value = PQgetvalue(result, row, column) else {
                    return nil
                }
                return String(cString: value)
            }
        }
        affected = PQcmdTuples(result).flatMap { Int(String(cString: $0)) } ?? 0
    }

    /// The first column of the first row.
    package var value: String? { rows.first?.first ?? nil }
    package var integer: Int? { value.flatMap { Int($0) } }
    /// `t` or `f`.
    package var flag: Bool { value == "t" }
    /// The first column.
    package var values: [String] { rows.compactMap { $0.first ?? nil } }
}
