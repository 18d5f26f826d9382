import CertsCore
import CertsCrypto
import CertsTesting
import Foundation

/// Files, and things that are none, as they are found in the directories of old hosts; each bad one with its reason.
struct OddInputs: Sendable {
    /// Paths from the scene's directory, which are the labels `cert` too.
    private(set) var good: [String] = []
    /// By source.
    private(set) var errors: [String: [WatchReason: Int]] = ["odd": [:], "locked": [:], "gone": [.notFound: 1]]
    private(set) var count = 0
    let goodPEM: Data

    private let place: TemporaryDirectory
    private let pki: TestPKI
    private let leaf: TestPKI.Identity

    init(in place: TemporaryDirectory) throws {
        self.place = place
        pki = try TestPKI()
        leaf = try pki.leaf(["odd.example.com"])
        goodPEM = Data(leaf.certificate.pem.utf8)
        for name in ["odd", "odd/sub", "odd/closed", "locked"] { mkdir(place.path(name), 0o755) }
        try addGood()
        try addOddCertificates()
        try addBadPEM()
        try addOtherFiles()
        try addBadDER()
        try addNoFiles()
        try addPKCS12()
    }

    // MARK: Good ones

    private mutating func add(_ name: String, _ contents: Data, _ problem: WatchReason? = nil) throws {
        try place.write(contents, to: name)
        count += 1
        if let problem { bad(name, problem) } else { good.append(name) }
    }

    private mutating func bad(_ name: String, _ reason: WatchReason) {
        errors[String(name.prefix { $0 != "/" }), default: [:]][reason, default: 0] += 1
    }

    private mutating func addGood() throws {
        let chain = [leaf.certificate, pki.intermediate.certificate].map(\.pem).joined()
        // Duplicates of one another.
        for index in 0..<20 { try add("odd/good-\(index).pem", goodPEM) }
        for index in 0..<5 { try add("odd/sub/chain-\(index).pem", Data(chain.utf8)) }
        for index in 0..<5 { try add("odd/sub/der-\(index).der", leaf.certificate.der) }
        for (index, junk) in ["junk", "\0\0\0", "-----BEGIN", "Bag Attributes\n", "é\u{fffd}", "-----END X-----\n"]
            .enumerated()
        {
            try add("odd/after-\(index).pem", goodPEM + Data(junk.utf8))
            try add("odd/before-\(index).pem", Data("\(junk)\n".utf8) + goodPEM)
        }
        let text = leaf.certificate.pem
        try add("odd/crlf.pem", Data(text.replacingOccurrences(of: "\n", with: "\r\n").utf8))
        try add("odd/bom.pem", Data("\u{feff}\(text)".utf8))
        try add("odd/one-line.pem", Data(Self.onOneLine(text).utf8))
        try add("odd/key-first.pem", try leaf.keyPEM + goodPEM)
        try add("odd/b\"ack\\slash.pem".replacingOccurrences(of: "\"", with: "'"), goodPEM)
        good.removeLast()  // Its label is escaped.
        try add("odd/ünïcode €.pem", goodPEM)
        let long = "odd/" + String(repeating: "x", count: 250)
        try add(long + ".crt", goodPEM)
        good.removeLast()  // Its label is shortened.
    }

    private static func onOneLine(_ pem: String) -> String {
        let lines = pem.split(separator: "\n")
        return "\(lines.first ?? "")\n\(lines.dropFirst().dropLast().joined())\n\(lines.last ?? "")\n"
    }

    private mutating func addOddCertificates() throws {
        let many = try pki.leaf((0..<5000).map { "host-\($0).example.com" })
        try add("odd/5000-names.pem", Data(many.certificate.pem.utf8))
        // No certificate of ours begins before 1950.
        let future = try pki.leaf {
            $0.notBefore = Date(timeIntervalSince1970: 4_039_372_800)
            $0.notAfter = Date(timeIntervalSince1970: 4_102_444_799)
        }
        for year in ["1949", "1900", "0001"] {
            let der = Self.replacing("20980101000000Z", with: "\(year)0101000000Z", in: future.certificate.der)
            try add("odd/since-\(year).der", der)
        }
        let last = try pki.leaf { $0.notAfter = Date(timeIntervalSince1970: 253_402_300_799) }
        try add("odd/until-9999.pem", Data(last.certificate.pem.utf8))
        let expired = try pki.leaf { $0.notAfter = pki.now.addingTimeInterval(-3600) }
        try add("odd/expired.pem", Data(expired.certificate.pem.utf8))
        let bare = try pki.selfSigned { $0.hasExtensions = false }
        try add("odd/version-1.pem", Data(bare.certificate.pem.utf8))
        // A subject that would forge lines, quotes or an end of text.
        for (index, forged) in ["\0\n\r\"", "\n\n\n\n", "\"} 1", "\u{1b}[2J"].enumerated() {
            let der = Self.replacing("odd.example.com", with: forged, in: leaf.certificate.der)
            try add("odd/subject-\(index).der", der)
        }
        // Years beyond 9999 cannot be written: these say the 99th month, the 25th hour, and letters.
        let late = try pki.leaf { $0.notAfter = Date(timeIntervalSince1970: 4_102_444_799) }
        for (index, date) in ["20999931235959Z", "20991231255959Z", "2099AB31235959Z"].enumerated() {
            let der = Self.replacing("20991231235959Z", with: date, in: late.certificate.der)
            try add("odd/date-\(index).der", der, .malformed)
            try add("odd/date-\(index).pem", Data(PEM.block("CERTIFICATE", der).utf8), .malformed)
        }
    }

    /// Writes over the beginning of each occurrence; the length stays.
    private static func replacing(_ text: String, with other: String, in der: Data) -> Data {
        var der = der
        var from = der.startIndex
        while let found = der.range(of: Data(text.utf8), in: from..<der.endIndex) {
            let bytes = Data(other.utf8)
            der.replaceSubrange(found.lowerBound..<found.lowerBound + bytes.count, with: bytes)
            from = found.upperBound
        }
        return der
    }

    // MARK: Bad ones

    private mutating func addBadPEM() throws {
        let text = leaf.certificate.pem
        for index in 0..<15 { try add("odd/cut-\(index).pem", Data(text.dropLast(30 + 40 * index).utf8), .badPEM) }
        for (index, character) in ["#", "é", "\0", "*", "==x"].enumerated() {
            var lines = text.split(separator: "\n").map(String.init)
            lines[2 + index] = character + lines[2 + index]
            try add("odd/base64-\(index).pem", Data(lines.joined(separator: "\n").utf8), .badPEM)
        }
        for (index, end) in ["X509 CRL", "CERTIFICAT", "PRIVATE KEY"].enumerated() {
            let other = text.replacingOccurrences(of: "END CERTIFICATE", with: "END \(end)")
            try add("odd/end-\(index).pem", Data(other.utf8), .badPEM)
        }
        // The leaf is whole, and is shown; what follows is not.
        let broken = Data((text + text.dropLast(40)).utf8)
        for index in 0..<3 {
            try add("odd/broken-chain-\(index).pem", broken, .badPEM)
            good.append("odd/broken-chain-\(index).pem")
        }
    }

    private mutating func addOtherFiles() throws {
        for index in 0..<20 { try add("odd/garbage-\(index).pem", Data("garbage \(index)\n".utf8), .noCertificate) }
        for index in 0..<5 { try add("odd/empty-\(index).crt", Data(), .noCertificate) }
        for index in 0..<5 { try add("odd/key-\(index).pem", try leaf.keyPEM, .noCertificate) }
        for (index, label) in ["X509 CRL", "CERTIFICATE REQUEST", "DH PARAMETERS", "PKCS7"].enumerated() {
            let other = leaf.certificate.pem.replacingOccurrences(of: "CERTIFICATE", with: label)
            try add("odd/other-\(index).pem", Data(other.utf8), .noCertificate)
        }
        for index in 0..<3 {
            try add("odd/commented-\(index).pem", Data("# \(leaf.certificate.pem)".utf8), .noCertificate)
        }
        for index in 0..<3 { try add("odd/large-\(index).pem", Data(count: 2 << 20), .tooLarge) }
        let block = "-----BEGIN X-----\n-----END X-----\n"
        for index in 0..<2 {
            try add("odd/blocks-\(index).pem", Data(String(repeating: block, count: 1500).utf8), .tooLarge)
        }
        // Files with other names are not looked into.
        for index in 0..<5 { try place.write(Data("x".utf8), to: "odd/notes-\(index).txt") }
        for index in 0..<5 {
            let name = "odd/closed-\(index).pem"
            try add(name, goodPEM, .permissionDenied)
            chmod(place.path(name), 0)
        }
        try place.write(goodPEM, to: "odd/closed/hidden.pem")
        chmod(place.path("odd/closed"), 0)
        bad("odd/closed", .permissionDenied)
        count += 1
    }

    private mutating func addBadDER() throws {
        let der = leaf.certificate.der
        for index in 0..<10 { try add("odd/short-\(index).der", der.dropLast(1 + 20 * index), .malformed) }
        for index in 0..<10 {
            var other = der
            // Tags of the outer structure: each makes it something else.
            other[other.startIndex + 4] = UInt8(0x02 + index)
            try add("odd/tag-\(index).der", other, .malformed)
        }
        for index in 0..<10 {
            var random = SplitMix(seed: UInt64(index))
            let bytes = Data((0..<400).map { _ in UInt8.random(in: 0...255, using: &random) })
            try add("odd/random-\(index).der", Data([0x30, 0x82, 0x01, 0x8c]) + bytes.dropFirst(4), .malformed)
            try add("odd/random-\(index).pem", Data(PEM.block("CERTIFICATE", bytes).utf8), .malformed)
        }
    }

    private mutating func addNoFiles() throws {
        func odd(_ name: String, _ reason: WatchReason) {
            bad(name, reason)
            count += 1
        }
        for index in 0..<3 {
            mkdir(place.path("odd/directory-\(index).pem"), 0o755)
            odd("odd/", .notRegular)
            mkfifo(place.path("odd/fifo-\(index).pem"), 0o600)
            odd("odd/", .notRegular)
            symlink("nowhere-\(index)", place.path("odd/dangling-\(index).pem"))
            odd("odd/", .danglingLink)
            symlink("round-\(index).pem", place.path("odd/round-\(index).pem"))
            odd("odd/", .danglingLink)
            symlink("/dev/null", place.path("odd/device-\(index).pem"))
            odd("odd/", .notRegular)
            try place.write(goodPEM, to: "odd/new\nline-\(index).pem")
            odd("odd/", .badName)
            let raw =
                Array(place.path("odd/").utf8) + [0xff, 0xfe, UInt8(ascii: "0") + UInt8(index)] + Array(".pem".utf8)
            raw.withUnsafeBytes { bytes in
                var path = bytes.map { CChar(bitPattern: $0) } + [0]
                close(open(&path, O_CREAT | O_WRONLY, 0o600))
            }
            odd("odd/", .badName)
            symlink("good-\(index).pem", place.path("odd/linked-\(index).pem"))
            good.append("odd/linked-\(index).pem")
            count += 1
        }
    }

    private mutating func addPKCS12() throws {
        try place.write(Data("right horse\n".utf8), to: "passphrase")
        let (key, certificate) = (try place.write(leaf.keyPEM, to: "key.tmp"), try place.write(goodPEM, to: "leaf.tmp"))
        func export(_ passphrase: String) throws -> Data {
            let path = place.path("export.tmp")
            try Tool.run(
                "openssl", "pkcs12", "-export", "-inkey", key, "-in", certificate, "-out", path, "-passout",
                "pass:\(passphrase)")
            return FileManager.default.contents(atPath: path) ?? Data()
        }
        let (right, wrong) = (try export("right horse"), try export("wrong"))
        for index in 0..<4 {
            try add("locked/right-\(index).p12", right)
            try add("locked/wrong-\(index).pfx", wrong, .badPassphrase)
            try add("locked/cut-\(index).p12", right.dropLast(10 + index), .malformed)
            try add("odd/locked-\(index).p12", right, .noPassphrase)
        }
    }
}

/// Numbers that are the same in each run.
private struct SplitMix: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
