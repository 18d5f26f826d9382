internal import CCurl
package import Foundation

/// The dates of header fields (RFC 9110 §5.6.7).
package enum HTTPDate {
    /// Any of the three forms; `nil` for anything that is no date.
    package static func parse(_ text: String) -> Date? {
        guard text.utf8.count <= 64, !text.utf8.contains(0) else { return nil }
        let seconds = curl_getdate(text, nil)
        return seconds < 0 ? nil : Date(timeIntervalSince1970: TimeInterval(seconds))
    }
}
