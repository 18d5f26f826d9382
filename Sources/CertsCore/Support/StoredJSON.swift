package import Foundation

/// The JSON of our own files and of the journal: one form for all, so that what one part writes another can read.
///
/// Times are seconds since 1970 with their fraction; keys are sorted, so equal values give equal bytes.
package enum StoredJSON {
    package static func encode(_ value: some Encodable, readable: Bool = false) throws -> Data {
        let encoder = JSONEncoder()
        encoder.dateEncodingStrategy = .secondsSince1970
        encoder.outputFormatting =
            readable ? [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted] : [.sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(value)
    }

    package static func decode<Value: Decodable>(_ type: Value.Type, from text: Data) throws -> Value {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .secondsSince1970
        return try decoder.decode(type, from: text)
    }
}
