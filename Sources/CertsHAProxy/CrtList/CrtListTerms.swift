import CertsCore

/// What stands behind the certificate in a line of a crt-list: TLS options in brackets, and SNI filters (configuration
/// manual §5.1 `crt-list`).
///
/// They come from the configuration and go into a payload of the runtime API and into HAProxy's file: words of a plain
/// alphabet only, so that none of them ends a line, opens a bracket or begins a command.
struct CrtListTerms: Sendable, Equatable {
    /// Keywords and their arguments: `alpn`, `h2,http/1.1`.
    let options: [String]
    /// Lower case; `*.example.com`, `!www.example.com`.
    let filters: [String]

    static let none = CrtListTerms()

    private init() {
        options = []
        filters = []
    }

    /// - Parameter options: with or without the brackets.
    /// - Throws: `configuration.invalid`, which quotes the word.
    init(options: String = "", filters: [String] = []) throws(CertsError) {
        self.options = try Self.words(of: options)
        self.filters = filters.map { $0.lowercased() }
        for filter in self.filters where !Self.isFilter(filter) {
            throw CertsError(
                .configurationInvalid, "'\(TerminalText.sanitized(filter, limit: 100))' is no SNI filter of a crt-list",
                hint: "write a host name, `*.` and a host name, or one of these after `!`")
        }
    }

    private static func words(of options: String) throws(CertsError) -> [String] {
        var inner = options[...].drop { $0 == " " }
        while inner.last == " " { inner.removeLast() }
        if inner.first == "[", inner.last == "]", inner.count > 1 { inner = inner.dropFirst().dropLast() }
        let allowed = inner.utf8.allSatisfy { byte in
            isAlphanumeric(byte) || " -_.,:/+=@!*".utf8.contains(byte)
        }
        guard allowed, inner.utf8.count <= 4096 else {
            throw CertsError(
                .configurationInvalid,
                "'\(TerminalText.sanitized(options, limit: 100))' cannot be the options of a line in a crt-list",
                hint: "write them on one line as HAProxy's manual has them, e.g. `alpn h2,http/1.1 ssl-min-ver TLSv1.2`"
            )
        }
        return inner.split(separator: " ").map(String.init)
    }

    private static func isFilter(_ filter: String) -> Bool {
        var name = filter[...]
        if name.first == "!" { name = name.dropFirst() }
        if name == "*" { return true }
        if name.hasPrefix("*.") { name = name.dropFirst(2) }
        guard name.utf8.count <= 253 else { return false }
        return name.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
            !label.isEmpty && label.utf8.count <= 63
                && label.utf8.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") }
        }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "A")...UInt8(ascii: "Z"):
            true
        default: false
        }
    }

    var isEmpty: Bool { options.isEmpty && filters.isEmpty }

    /// The line of the list, without its newline.
    func line(for path: String) -> String {
        let bracket = options.isEmpty ? [] : ["[\(options.joined(separator: " "))]"]
        return ([path] + bracket + filters).joined(separator: " ")
    }

    /// Whether HAProxy holds these terms for `entry`. It prints options in an order of its own, so that of options only
    /// the presence is compared.
    func matches(_ entry: RuntimeReply.CrtListEntry) -> Bool {
        entry.filters.map { $0.lowercased() } == filters && entry.text.hasPrefix("[") == !options.isEmpty
    }
}
