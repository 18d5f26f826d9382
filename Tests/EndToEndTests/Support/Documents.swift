import Foundation

// The JSON of the program, as a script would read it: only the names that are frozen.

struct StatusDocument: Decodable {
    let schema: Int
    let certificates: [Certificate]

    struct Certificate: Decodable {
        let name: String
        let state: String
        let revision: Int?
        let sha256: String?
        let alternates: [String]?
        let notBefore: Date?
        let notAfter: Date?
        let dueAt: Date?
        let dueReason: String?
        let targets: [Target]
    }

    struct Target: Decodable {
        let name: String
        let state: String
        let endpoints: [Endpoint]
    }

    struct Endpoint: Decodable {
        let address: String
        let serverName: String?
        let servedSha256: String?
        let matches: Bool?
    }
}

struct HistoryDocument: Decodable {
    let schema: Int
    let rotations: [Rotation]

    struct Rotation: Decodable {
        let id: String
        let revision: Int
        let purpose: String
        let outcome: String
        let failure: Failure?
        let steps: [Step]
    }

    struct Failure: Decodable {
        let step: String
        let code: String
        let message: String
        let hint: String?
    }

    struct Step: Decodable {
        let step: String
    }
}

struct PlanDocument: Decodable {
    let schema: Int
    let at: Date
    let items: [Item]

    struct Item: Decodable {
        let certificate: String
        let dueAt: Date
        let reason: String
        let due: Bool
    }
}

struct ResultsDocument: Decodable {
    let results: [Item]

    struct Item: Decodable {
        let certificate: String
        let outcome: String
        let revision: Int?
        let code: String?
        let message: String?
        let hint: String?
    }
}

extension Program.Outcome {
    /// The JSON on standard output.
    func decoded<Document: Decodable>(_: Document.Type = Document.self) throws -> Document {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .custom { decoder in
            let text = try decoder.singleValueContainer().decode(String.self)
            if let date = try? Date.ISO8601FormatStyle().parse(text) { return date }
            return try Date.ISO8601FormatStyle(includingFractionalSeconds: true).parse(text)
        }
        do {
            return try decoder.decode(Document.self, from: output)
        } catch {
            throw Program.Failure(description: "no \(Document.self): \(error): \(all)")
        }
    }
}
