package import Foundation

/// The output of a container or of an exec: frames with a header of 8 bytes, or raw where there is a terminal.
package enum DockerStream {
    /// What both streams said, in the order in which it came; a frame that is cut off counts as far as it goes.
    package static func text(_ bytes: Data) -> String {
        var result: [UInt8] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            // The stream's number, three zero bytes, the length in network order (Engine API, "Stream format").
            let header = Array(rest.prefix(8))
            guard header.count == 8, header[0] <= 2, header[1...3].allSatisfy({ $0 == 0 }) else {
                result += rest
                break
            }
            let length = header[4...].reduce(0) { $0 << 8 | Int($1) }
            rest = rest.dropFirst(8)
            result += rest.prefix(length)
            rest = rest.dropFirst(length)
        }
        return String(decoding: result, as: UTF8.self)
    }
}
