import Foundation
import Testing

@testable import certs

/// The views as the program prints them, on a fixed fixture: in `docs/views`, and those of 80 columns in the README.
/// `scripts/views` writes them anew.
@Suite("The views in the documents") struct DocumentedViewsTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private static func views() throws -> [(file: String, text: String)] {
        var views = try [40, 80, 132].flatMap { width in
            [
                ("status-\(width)", try ViewFixture.status(width: width)),
                ("timeline-\(width)", try ViewFixture.timeline(width: width)),
                ("rotate-\(width)", try LiveFixture.frame(width: width)),
            ]
        }
        views += [
            ("status-ascii-80", try ViewFixture.status(width: 80, isUTF8: false)),
            ("status-color-80", try ViewFixture.status(width: 80, usesColor: true)),
            ("status-file", try ViewFixture.status(width: nil)),
            ("timeline-ascii-80", try ViewFixture.timeline(width: 80, isUTF8: false)),
            ("timeline-year-80", try ViewFixture.timeline(width: 80, weeks: 104)),
        ]
        return views.map { ("docs/views/\($0.0).txt", $0.1) }
    }

    @Test("are what the program prints") func areWhatTheProgramPrints() throws {
        let isWriting = ProcessInfo.processInfo.environment["CERTS_WRITE_VIEWS"] == "1"
        let readme = Self.root.appending(path: "README.md")
        var document = try String(contentsOf: readme, encoding: .utf8)
        var documented = 0
        for (file, text) in try Self.views() {
            let place = Self.root.appending(path: file)
            if isWriting { try Data((text + "\n").utf8).write(to: place) }
            #expect(try String(contentsOf: place, encoding: .utf8) == text + "\n", "\(file): run scripts/views")
            let parts = document.components(separatedBy: "<!-- \(file) -->\n```\n")
            guard parts.count == 2, let end = parts[1].range(of: "\n```") else { continue }
            documented += 1
            if isWriting { document = "\(parts[0])<!-- \(file) -->\n```\n\(text)\(parts[1][end.lowerBound...])" }
            #expect(isWriting || parts[1][..<end.lowerBound] == text, "README.md: \(file): run scripts/views")
        }
        #expect(documented == 3, "fewer views are found in the README than stand in it")
        if isWriting { try Data(document.utf8).write(to: readme) }
    }
}
