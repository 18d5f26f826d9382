package import CertsCore
import Foundation

// quarantine/NODE/NUMBER-NAME: files that `certs drift --repair` took out of HAProxy's way. Nothing is ever deleted there.
extension StateDirectory: Quarantine {
    static let quarantineName = "quarantine"

    package func keep(_ contents: Secret, of node: NodeID, path: String) async throws -> String {
        try await pool.run { [self] in
            let name = node.node.map { "\(node.target)@\($0)" } ?? node.target.rawValue
            let folder = try root.makeFolder(Self.quarantineName).makeFolder(name)
            // Any character of a file name outside may be anything: only plain ones are taken over.
            let plain = (path.split(separator: "/").last ?? "file").unicodeScalars.prefix(80).map { scalar in
                scalar.isASCII && (scalar.properties.isAlphabetic || "0123456789._-".unicodeScalars.contains(scalar))
                    ? Character(scalar) : "_"
            }
            let taken = Set(try folder.names())
            var number = taken.count + 1
            while taken.contains("\(number)-\(String(plain))") { number += 1 }
            let file = "\(number)-\(String(plain))"
            try AtomicFile(folder: folder, name: file).replace(with: contents, attributes: nil)
            return folder.path(of: file)
        }
    }
}
