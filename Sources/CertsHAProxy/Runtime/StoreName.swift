import CertsCore
import Foundation

/// The name under which HAProxy holds a certificate in memory: a word that can stand in a command of the runtime API.
///
/// It comes from HAProxy's own list, and that comes from a path in a configuration. What HAProxy's command line gives a
/// meaning to (blank, `;`, `<<`, `\`, control characters, a `*` or `@` in front) is refused, not escaped: the rules of
/// escaping differ between versions, and such a path is easily renamed.
struct StoreName: Hashable, Sendable, CustomStringConvertible {
    let rawValue: String

    /// - Throws: `target.notReferenced`, which quotes the name.
    init(_ rawValue: String) throws(CertsError) {
        let forbidden = rawValue.utf8.first { $0 <= 0x20 || $0 == 0x7f || ";<>\\\"'#$`!".utf8.contains($0) }
        guard let first = rawValue.utf8.first, !"*@".utf8.contains(first), forbidden == nil, rawValue.utf8.count <= 4096
        else {
            throw CertsError(
                .targetNotReferenced,
                "'\(TerminalText.sanitized(rawValue, limit: 300))' cannot be named in a command of HAProxy's runtime API",
                hint: "rename the file: letters, digits and / . _ - only, and name it so in HAProxy's configuration too"
            )
        }
        self.rawValue = rawValue
    }

    var description: String { rawValue }

    /// The path without doubled slashes and `.` components, with `..` resolved: HAProxy stores `crt-base /x/` with
    /// `crt a.pem` as `/x//a.pem`, and names are compared there as strings.
    static func normalized(_ path: String) -> String {
        if isNormal(path.utf8) { return path }
        var components: [Substring] = []
        for component in path.split(separator: "/") where component != "." {
            if component == "..", let last = components.last, last != ".." {
                components.removeLast()
            } else {
                components.append(component)
            }
        }
        return (path.hasPrefix("/") ? "/" : "") + components.joined(separator: "/")
    }

    /// Whether the path certainly has nothing to normalize: HAProxy's list may have thousands.
    private static func isNormal(_ path: String.UTF8View) -> Bool {
        let (slash, dot) = (UInt8(ascii: "/"), UInt8(ascii: "."))
        guard path.first == slash, path.last != slash else { return false }
        return !zip(path, path.dropFirst()).contains { $0 == slash && ($1 == slash || $1 == dot) }
    }
}
