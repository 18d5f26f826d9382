package import CertsCore
import Foundation

// authorities/ISSUER/, accounts/ISSUER/, handoff/CERTIFICATE/.

extension StateDirectory: IssuerFiles {
    private static let sizeLimit = 1 << 20

    package func read(_ file: String, of owner: Name, in area: IssuerArea) async throws -> Secret? {
        try Self.checkName(file)
        return try await pool.run { [self] in
            try root.folder(area.rawValue)?.folder(owner.rawValue)?.read(file, limit: Self.sizeLimit)?.contents
        }
    }

    package func write(_ contents: Secret, to file: String, of owner: Name, in area: IssuerArea) async throws {
        try Self.checkName(file)
        try await pool.run { [self] in
            let folder = try root.makeFolder(area.rawValue).makeFolder(owner.rawValue)
            try AtomicFile(folder: folder, name: file).replace(with: contents, attributes: nil)
        }
    }

    package func remove(_ file: String, of owner: Name, in area: IssuerArea) async throws {
        try Self.checkName(file)
        try await pool.run { [self] in
            try root.folder(area.rawValue)?.folder(owner.rawValue)?.remove(file)
        }
    }

    package func lock(_ owner: Name, in area: IssuerArea, deadline: Duration) async throws -> any HeldLock {
        try await KernelLock.take(
            "\(area.rawValue) of \(owner)", path: "\(path)/\(area.rawValue)/\(owner)", deadline: deadline, on: pool
        ) { [self] in try root.makeFolder(area.rawValue).makeFolder(owner.rawValue) }
    }

    static func checkName(_ file: String) throws {
        let bytes = file.utf8
        func isAlphanumeric(_ byte: UInt8) -> Bool {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: false
            }
        }
        guard let first = bytes.first, isAlphanumeric(first), bytes.count <= 100,
            bytes.allSatisfy({
                isAlphanumeric($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-")
            })
        else {
            throw CertsError(
                .nameInvalid, "'\(file)' is not a file name of the state directory",
                hint: "use 1 to 100 letters, digits, '.', '_', '-', beginning with a letter or digit")
        }
    }
}
