import Foundation

// What Pebble did, by its own log.
extension Pebble {
    /// How many orders the server has, from its log.
    package var orders: Int {
        let line = output.split(separator: "\n").last {
            $0.contains("There are now") && $0.contains(" orders in the db")
        }
        let words = line?.split(separator: " ") ?? []
        guard let place = words.firstIndex(of: "now") else { return 0 }
        return Int(words[words.index(after: place)]) ?? 0
    }

    /// How many certificates the server has signed.
    package var certificates: Int { output.split(separator: "\n").count { $0.contains("Issued certificate serial") } }
}
