import CertsCore
import Foundation

/// The small languages inside the values of the configuration: pure, and without a place in the file.
enum ConfigurationValue {
    /// Seconds of `30d`, `12h`, `15m`, `90s`; `nil` for anything else, also for what no `Date` can hold.
    static func duration(_ text: String) -> TimeInterval? {
        guard let unit = text.last, let seconds = ["s": 1, "m": 60, "h": 3600, "d": 86400][unit] else { return nil }
        let digits = text.dropLast()
        guard !digits.isEmpty, digits.utf8.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }),
            let number = Int32(digits)
        else { return nil }
        return TimeInterval(number) * TimeInterval(seconds)
    }

    /// The inverse of ``duration(_:)``, in the largest unit that fits.
    static func words(_ seconds: TimeInterval) -> String {
        for (unit, size) in [("d", 86400.0), ("h", 3600), ("m", 60)] where seconds >= size {
            if seconds.truncatingRemainder(dividingBy: size) == 0 { return "\(Int64(seconds / size))\(unit)" }
        }
        return "\(Int64(seconds))s"
    }

    /// `300/3h`: so many in so long.
    static func rate(_ text: String) -> IssuanceLimits.Rate? {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0].utf8.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }),
            let count = Int32(parts[0]), count > 0, let period = duration(String(parts[1])), period > 0,
            period <= 366 * 86400
        else { return nil }
        return IssuanceLimits.Rate(Int(count), per: period)
    }

    /// `HOST:PORT` of a listener; the port may be 0, for any free one.
    static func listener(_ text: String) -> ServerDeclaration? {
        guard let colon = text.lastIndex(of: ":"), let port = port(text[text.index(after: colon)...]) else {
            return nil
        }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
            guard IPAddress(String(host))?.isIPv6 == true else { return nil }
        } else if host.contains(":") {
            return nil
        }
        guard isHost(String(host)) else { return nil }
        return ServerDeclaration(host: String(host), port: port)
    }

    /// `HOST:PORT` of something to connect to.
    static func endpoint(_ text: String) -> Endpoint? {
        guard let endpoint = Endpoint(address: text), isHost(endpoint.host) else { return nil }
        guard let colon = text.lastIndex(of: ":"), port(text[text.index(after: colon)...]) != nil else { return nil }
        return endpoint
    }

    private static func port(_ text: Substring) -> Int? {
        // `UInt16("+80")` is a number in Swift, and no port.
        text.utf8.allSatisfy { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") } ? UInt16(text).map(Int.init) : nil
    }

    private static func isHost(_ text: String) -> Bool {
        if IPAddress(text) != nil { return true }
        guard !text.contains("*"), let name = try? DNSName.canonical(text) else { return false }
        // `1.2.3` and `300.1.1.1` are mistyped addresses: no top-level domain is a number (RFC 3696 §2).
        return name.split(separator: ".").last?.allSatisfy(\.isNumber) == false
    }

    /// An `rfc822Name` (RFC 5280 §4.2.1.6): an ASCII local part and a DNS name in its canonical form.
    static func email(_ text: String) throws(CertsError) -> String {
        func refuse(_ why: String) -> CertsError {
            CertsError(
                .nameInvalid, "'\(text)' is not an e-mail address: \(why)", hint: "write it like ops@example.com")
        }
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count == 2, let local = parts.first, let domain = parts.last else {
            throw refuse("it needs exactly one '@'")
        }
        let allowed = Set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.!#$%&'*+-/=?^_`{|}~".utf8)
        guard !local.isEmpty, local.utf8.count <= 64, local.utf8.allSatisfy(allowed.contains), !local.hasPrefix("."),
            !local.hasSuffix("."), !local.contains("..")
        else { throw refuse("the part before '@' is not a plain mailbox name") }
        guard !domain.contains("*") else { throw refuse("it has a wildcard") }
        do {
            return "\(local)@\(try DNSName.canonical(String(domain)))"
        } catch {
            throw refuse(error.message)
        }
    }

    /// An absolute URI (RFC 3986) as `uniformResourceIdentifier` takes it: ASCII, with a scheme, and with a host where it
    /// has an authority.
    static func uri(_ text: String) throws(CertsError) -> String {
        func refuse(_ why: String) -> CertsError {
            CertsError(
                .nameInvalid, "'\(text)' is not a URI: \(why)", hint: "write it like spiffe://example.com/service")
        }
        guard text.utf8.count <= 2048 else { throw refuse("it is longer than 2048 characters") }
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }), !text.contains(where: { "<>\"\\^`{|}".contains($0) })
        else {
            throw refuse("it has blanks or characters that a URI must percent-encode")
        }
        guard let components = URLComponents(string: text), let scheme = components.scheme, !scheme.isEmpty else {
            throw refuse("it does not begin with a scheme such as 'https:'")
        }
        let rest = text.dropFirst(scheme.count + 1)
        guard !rest.isEmpty else { throw refuse("there is nothing after '\(scheme):'") }
        if rest.hasPrefix("//"), components.host?.isEmpty ?? true { throw refuse("it has no host after '//'") }
        return text
    }

    /// A DNS subtree (`example.com`) or a block of addresses (`10.0.0.0/8`), as name constraints take them.
    static func permittedName(_ text: String) throws(CertsError) -> String {
        guard let slash = text.firstIndex(of: "/") else {
            if let address = IPAddress(text) { return "\(address)/\(address.bytes.count * 8)" }
            guard !text.contains("*") else {
                throw CertsError(
                    .nameInvalid, "'\(text)' has a wildcard; a subtree has none",
                    hint: "write example.com for all names below it")
            }
            return try DNSName.canonical(text.hasPrefix(".") ? String(text.dropFirst()) : text)
        }
        guard let address = IPAddress(String(text[..<slash])), let length = UInt8(text[text.index(after: slash)...]),
            Int(length) <= address.bytes.count * 8
        else {
            throw CertsError(
                .nameInvalid, "'\(text)' is not a block of addresses", hint: "write it like 10.0.0.0/8 or fd00::/8")
        }
        let mask = (0..<address.bytes.count).map { index in
            UInt8(truncatingIfNeeded: 0xff00 >> min(8, max(0, Int(length) - index * 8)))
        }
        guard let network = IPAddress(bytes: zip(address.bytes, mask).map { $0 & $1 }), network == address else {
            throw CertsError(
                .nameInvalid, "'\(text)' has bits set beyond its prefix", hint: "write the first address of the block")
        }
        return "\(network)/\(length)"
    }
}
