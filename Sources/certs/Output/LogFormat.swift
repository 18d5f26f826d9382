import ArgumentParser
import CertsCore
import Foundation
import Logging

/// `--log-format`: how stderr is written while work is done.
enum LogFormat: String, ExpressibleByArgument, CaseIterable {
    case auto, text, json

    /// Lines for people on a terminal, for programs elsewhere.
    var isJSON: Bool {
        switch self {
        case .auto: isatty(STDERR_FILENO) == 0
        case .text: false
        case .json: true
        }
    }

    /// Of this process; known also where the command line as a whole is not understood.
    static let asked = asked(in: Swift.CommandLine.arguments)

    static func asked(in arguments: [String]) -> LogFormat {
        var words = arguments.dropFirst().prefix { $0 != "--" }
        var format = LogFormat.auto
        while let word = words.popFirst() {
            let value = word == "--log-format" ? words.first : word.hasPrefix("--log-format=") ? word.value : nil
            if let known = value.flatMap(LogFormat.init(rawValue:)) { format = known }
        }
        return format
    }
}

extension String {
    /// What stands after the first `=`.
    fileprivate var value: String { String(drop(while: { $0 != "=" }).dropFirst()) }
}

/// A command that works unattended, so that its stderr is a log: also the error that ends it is an event of that log.
protocol LoggingCommand {
    var global: GlobalOptions { get }
}

/// One JSON object a line: `at` (RFC 3339, UTC), `level`, `message`, and what the event is about, each under its own name.
enum LogLine {
    static func make(_ level: String, _ message: String, _ fields: [String: JSONField], at now: Date) -> String {
        var line = fields
        line["at"] = .text(now.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true)))
        line["level"] = .text(level)
        line["message"] = .text(TerminalText.sanitized(message))
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let bytes = (try? encoder.encode(line)) ?? Data("{}".utf8)
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// A value of a log line.
enum JSONField: Encodable {
    case text(String)
    case number(Double)

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .text(let text): try container.encode(text)
        case .number(let number): try container.encode(number)
        }
    }
}

/// Writes what the parts of the program log as JSON lines to stderr.
struct JSONLogHandler: LogHandler {
    var logLevel = Logger.Level.error
    var metadata = Logger.Metadata()

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var fields: [String: JSONField] = [:]
        for (key, value) in metadata.merging(event.metadata ?? [:], uniquingKeysWith: { $1 }) {
            fields[key] = .text(TerminalText.sanitized("\(value)"))
        }
        if let error = event.error { fields["error"] = .text(TerminalText.sanitized("\(error)")) }
        Terminal.line(LogLine.make(event.level.rawValue, "\(event.message)", fields, at: Date()))
    }
}
