import CertsCore
import Foundation

/// The JSON of a message as receivers get it: RFC 3339 times, keys in a stable order.
enum MessageJSON {
    static func encode(_ message: NotificationMessage) throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .iso8601
        return try encoder.encode(message)
    }
}
