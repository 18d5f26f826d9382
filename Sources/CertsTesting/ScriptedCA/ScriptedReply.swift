package import Foundation

extension ScriptedCA {
    /// An HTTP response as it goes out: right, or wrong in any way.
    package struct Reply: Sendable {
        package var status: Int
        /// `Content-Length`, and `Replay-Nonce` unless it is there already, are added.
        package var headers: [(name: String, value: String)]
        package var body: Data
        /// Before the first byte goes out, in seconds.
        package var delay: TimeInterval = 0
        package var transport = Transport.whole
        /// Whether a nonce is added.
        package var hasNonce = true

        /// How the bytes reach the client.
        package enum Transport: Sendable {
            case whole
            /// The length of the whole body is announced, and the connection breaks after so many bytes of it.
            case truncated(after: Int)
            /// So many bytes of the body a second.
            case dripping(Int)
        }

        package init(_ status: Int, headers: [(name: String, value: String)] = [], body: Data = Data()) {
            self.status = status
            self.headers = headers
            self.body = body
        }

        package static func json(
            _ object: [String: any Sendable], status: Int = 200, headers: [(name: String, value: String)] = []
        ) -> Reply {
            let body = (try? JSONSerialization.data(withJSONObject: object, options: .withoutEscapingSlashes)) ?? Data()
            return Reply(status, headers: [("Content-Type", "application/json")] + headers, body: body)
        }

        /// A problem document (RFC 7807) of ACME (RFC 8555 §6.7).
        ///
        /// - Parameters:
        ///   - type: without its `urn:ietf:params:acme:error:`.
        ///   - more: more members, e.g. `subproblems`, `instance`, `identifier`.
        package static func problem(
            _ type: String, _ detail: String = "told to say so", status: Int = 400,
            headers: [(name: String, value: String)] = [], more: [String: any Sendable] = [:]
        ) -> Reply {
            var object: [String: any Sendable] = [
                "type": "urn:ietf:params:acme:error:\(type)", "detail": detail, "status": status,
            ]
            object.merge(more) { $1 }
            var reply = json(object, status: status, headers: headers)
            reply.headers[0].value = "application/problem+json"
            return reply
        }

        /// The terms have changed, and a person has to agree (RFC 8555 §7.3.3).
        package static func userActionRequired(terms: String, instance: String) -> Reply {
            problem(
                "userActionRequired", "the terms of service have changed", status: 403,
                headers: [("Link", "<\(terms)>;rel=\"terms-of-service\"")], more: ["instance": instance])
        }

        /// What a gateway in between says.
        package static func page(_ status: Int = 502) -> Reply {
            Reply(
                status, headers: [("Content-Type", "text/html")],
                body: Data("<html><body><h1>Bad gateway</h1>\u{1b}[31m</body></html>".utf8))
        }

        package static func redirect(to url: String, status: Int = 302) -> Reply {
            Reply(status, headers: [("Location", url)])
        }

        /// A body of so many bytes.
        package static func flood(_ count: Int, status: Int = 200, type: String = "application/json") -> Reply {
            Reply(status, headers: [("Content-Type", type)], body: Data(repeating: UInt8(ascii: " "), count: count))
        }

        package func with(header name: String, _ value: String) -> Reply {
            var reply = self
            reply.headers.removeAll { $0.name.lowercased() == name.lowercased() }
            reply.headers.append((name, value))
            return reply
        }

        package func retryAfter(seconds: Int) -> Reply { with(header: "Retry-After", "\(seconds)") }
        /// As a date (RFC 9110 §5.6.7).
        package func retryAfter(_ date: Date) -> Reply { with(header: "Retry-After", ScriptedCA.httpDate(date)) }

        /// Changes the members of a JSON body; `NSNull()` is `null`.
        package mutating func edit(_ change: (inout [String: Any]) -> Void) {
            guard var object = try? JSONSerialization.jsonObject(with: body) as? [String: Any] else { return }
            change(&object)
            if let data = try? JSONSerialization.data(withJSONObject: object, options: .withoutEscapingSlashes) {
                body = data
            }
        }
    }

    /// RFC 9110 §5.6.7, in whole seconds.
    package static func httpDate(_ date: Date) -> String {
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.timeZone = TimeZone(identifier: "GMT")
        formatter.dateFormat = "EEE, dd MMM yyyy HH:mm:ss 'GMT'"
        return formatter.string(from: date)
    }
}
