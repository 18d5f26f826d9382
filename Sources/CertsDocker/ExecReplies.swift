/// `GET /exec/{id}/json`.
struct ExecState: Decodable, Sendable {
    let running: Bool
    let exitCode: Int?

    private enum CodingKeys: String, CodingKey {
        case running = "Running"
        case exitCode = "ExitCode"
    }
}

/// The answer to a request that made something.
package struct Created: Decodable, Sendable {
    package let id: String

    private enum CodingKeys: String, CodingKey {
        case id = "Id"
    }
}
