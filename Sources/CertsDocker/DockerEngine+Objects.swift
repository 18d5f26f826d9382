package import CertsCore
import CertsHTTP
import Foundation

extension DockerEngine {
    /// Lists of a large engine.
    private static let listLimit = 64 << 20

    /// Takes its time: the engine adds up the sizes of files.
    package func diskUsage(within deadline: Duration) async throws(CertsError) -> DiskUsage {
        try decoded(try await send(.get, ["system", "df"], deadline: deadline, limit: Self.listLimit))
    }

    /// All images, those without a name included that are steps of a build.
    package func images() async throws(CertsError) -> [DiskUsage.Image] {
        try await fetch(.get, ["images", "json"], query: [("all", "1")], limit: Self.listLimit)
    }

    package func networks() async throws(CertsError) -> [NetworkSummary] {
        try await fetch(.get, ["networks"], limit: Self.listLimit)
    }

    package func containers(all: Bool) async throws(CertsError) -> [DiskUsage.Container] {
        try await fetch(.get, ["containers", "json"], query: [("all", all ? "1" : "0")], limit: Self.listLimit)
    }

    /// All that the engine knows of an object; `nil`: there is none.
    package func details(_ path: [String]) async throws(CertsError) -> JSONValue? {
        let response = try await answer(.get, path, limit: Self.listLimit)
        if response.status == 404 { return nil }
        guard response.isSuccess else { throw DockerFailure.refusal(response, socket: socket) }
        return try decoded(response.body)
    }

    /// What became of a request to remove something.
    package enum Removal: Sendable, Equatable {
        case removed
        /// Somebody else was faster.
        case gone
        /// It is in use, or is being removed: what the engine says.
        case busy(String)
    }

    /// Removes one object without force.
    package func remove(
        _ path: [String], query: [(name: String, value: String)] = [], deadline: Duration? = nil
    ) async throws(CertsError) -> Removal {
        let response = try await answer(.delete, path, query: query, deadline: deadline)
        switch response.status {
        case 200..<300: return .removed
        case 404: return .gone
        // A network in use is answered with 403 by Docker 20.10.
        case 403, 409: return .busy(DockerFailure.refusal(response, socket: socket).message)
        default: throw DockerFailure.refusal(response, socket: socket)
        }
    }

    /// Removes one record of the build cache; `nil`: it was not removed, because it is in use or others need it.
    package func removeCache(_ id: String, deadline: Duration) async throws(CertsError) -> Int? {
        // The engine takes the value for a regular expression; ids have letters and digits only.
        guard !id.isEmpty, id.utf8.allSatisfy({ Character(Unicode.Scalar($0)).isLetter || $0 >= 48 && $0 <= 57 }) else {
            return nil
        }
        let filters = #"{"id":{"^\#(id)$":true}}"#
        let response = try await answer(
            .post, ["build", "prune"], query: [("all", "1"), ("filters", filters)], deadline: deadline)
        // Another one is under way.
        if response.status == 409 { return nil }
        guard response.isSuccess else { throw DockerFailure.refusal(response, socket: socket) }
        let pruned: PrunedCache = try decoded(response.body)
        return pruned.deleted?.contains(id) == true ? pruned.bytes : nil
    }
}

private struct PrunedCache: Decodable {
    let deleted: [String]?
    let bytes: Int

    private enum CodingKeys: String, CodingKey {
        case deleted = "CachesDeleted"
        case bytes = "SpaceReclaimed"
    }
}
