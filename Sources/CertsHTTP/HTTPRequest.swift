package import Foundation

/// One HTTP request, with its own limits.
package struct HTTPRequest: Sendable {
    package enum Method: String, Sendable {
        case get = "GET"
        case head = "HEAD"
        case post = "POST"
        case put = "PUT"
        case delete = "DELETE"
        case options = "OPTIONS"
    }

    package var method: Method
    /// `http` or `https`, absolute.
    package var url: String
    /// In the order given; a name may occur more than once.
    package var headers: [(name: String, value: String)]
    package var body: Data?
    /// Connects to this Unix socket instead of the host in `url`, which still names the `Host`.
    package var unixSocket: String?
    /// Connects there instead of to the host and port in `url`, which still names the `Host` and the server name.
    package var connectTo: (host: String, port: Int)?
    /// Whether any certificate of the server is taken, or only one that the CAs vouch for and that fits the host.
    package var acceptsAnyCertificate = false
    /// Whether the path of `url` is a secret, as that of a webhook: then no message shows it.
    package var hidesPath = false
    package var limits: Limits

    package init(
        _ method: Method = .get, _ url: String, headers: [(name: String, value: String)] = [], body: Data? = nil,
        unixSocket: String? = nil, limits: Limits = .init()
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.unixSocket = unixSocket
        self.limits = limits
    }

    /// What a request may cost.
    package struct Limits: Sendable {
        /// For everything: resolving, connecting, TLS, sending, receiving.
        package var deadline: Duration
        /// The longest time in which nothing moves; whole seconds, at least one.
        package var idle: Duration
        /// In bytes, counted while they arrive.
        package var body: Int
        /// Of all header lines together, in bytes.
        package var header: Int

        package init(
            deadline: Duration = .seconds(60), idle: Duration = .seconds(10), body: Int = 1 << 20,
            header: Int = 64 << 10
        ) {
            self.deadline = deadline
            self.idle = idle
            self.body = body
            self.header = header
        }
    }
}

/// What came back, whatever the status.
package struct HTTPResponse: Sendable {
    package var status: Int
    package var headers: HTTPHeaders
    package var body: Data

    package var isSuccess: Bool { (200..<300).contains(status) }
}

/// The header fields of a response; names in any case.
package struct HTTPHeaders: Sendable {
    private(set) var fields: [(name: String, value: String)] = []

    package init() {}

    /// The first value of `name`.
    package subscript(name: String) -> String? { all(name).first }

    /// All values of `name`, in the order in which they came.
    package func all(_ name: String) -> [String] {
        let wanted = name.lowercased()
        return fields.filter { $0.name == wanted }.map(\.value)
    }

    /// Adds a line as it came; what is not `name: value` is dropped.
    mutating func append(line: some StringProtocol) {
        guard let colon = line.firstIndex(of: ":") else { return }
        let name = line[..<colon]
        guard !name.isEmpty, !name.contains(where: \.isWhitespace) else { return }
        fields.append((name.lowercased(), line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)))
    }

    mutating func removeAll() { fields = [] }
}
