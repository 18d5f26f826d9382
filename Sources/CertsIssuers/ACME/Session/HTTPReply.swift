import CertsCore
import CertsHTTP
import Foundation

/// What the server answered, with the fields that the protocol puts into the header.
struct HTTPReply: Sendable {
    let status: Int
    let headers: HTTPHeaders
    let body: Data
    /// What was asked for.
    let url: String
    let receivedAt: Date

    var isSuccess: Bool { (200..<300).contains(status) }
    /// The URL of what was made (RFC 8555 §7.1).
    var location: String? { headers["Location"] }

    /// The targets of `Link` fields with this relation (RFC 8288), in order: several fields, and several in one field.
    func links(_ relation: String) -> [String] {
        headers.all("Link").flatMap { LinkField.targets($0, relation: relation) }
    }

    /// The time that `Retry-After` names, as seconds or as a date (RFC 9110 §10.2.3), within the bounds; `nil`: none.
    func retryAt(within bounds: ClosedRange<TimeInterval> = 1...86400) -> Date? {
        guard let text = headers["Retry-After"] else { return nil }
        let seconds: TimeInterval
        if let number = Int(text) {
            seconds = TimeInterval(number)
        } else if let date = HTTPDate.parse(text) {
            seconds = date.timeIntervalSince(receivedAt)
        } else {
            return nil
        }
        return receivedAt.addingTimeInterval(min(max(seconds, bounds.lowerBound), bounds.upperBound))
    }

    /// The beginning of the body, safe to print.
    var shownBody: String {
        TerminalText.sanitized(String(decoding: body.prefix(200), as: UTF8.self), limit: 200)
    }

    func decoded<Value: Decodable>(_ type: Value.Type, _ what: String) throws(CertsError) -> Value {
        do {
            return try ProtocolJSON.decode(type, from: body)
        } catch {
            throw CertsError(
                .issuerUnavailable,
                "the CA answered \(Self.shown(url)) with something that is not \(what): \(shownBody)",
                hint: "check that `directory:` is the URL of an ACME directory", retry: .later)
        }
    }

    func failure() -> ACMEFailure {
        ACMEFailure(
            problem: Problem(self), status: status, retryAt: retryAt(), url: Self.shown(url),
            termsURL: links("terms-of-service").first)
    }

    /// A URL for messages.
    static func shown(_ url: String) -> String {
        TerminalText.sanitized(String(url.prefix { $0 != "?" && $0 != "#" }), limit: 200)
    }
}

/// The field `Link` (RFC 8288 §3), as far as servers use it here.
enum LinkField {
    static func targets(_ field: String, relation: String) -> [String] {
        var targets: [String] = []
        var rest = Substring(field)
        while let open = rest.firstIndex(of: "<"), let close = rest[open...].firstIndex(of: ">") {
            let target = rest[rest.index(after: open)..<close]
            let end = rest[close...].firstIndex(of: "<") ?? rest.endIndex
            let parameters = rest[rest.index(after: close)..<end].split { $0 == ";" || $0 == "," }
            let isWanted = parameters.contains { parameter in
                let parts = parameter.split(separator: "=", maxSplits: 1).map {
                    $0.trimmingCharacters(in: CharacterSet(charactersIn: " \t\""))
                }
                return parts.count == 2 && parts[0].lowercased() == "rel" && parts[1].lowercased() == relation
            }
            if isWanted { targets.append(String(target)) }
            rest = rest[end...]
        }
        return targets
    }
}
