import ArgumentParser
import CertsCore
import CertsEngine
import Foundation

struct NotifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "notify", abstract: "The channels that tell people: how they are doing, and a test.",
        subcommands: [NotifyStatusCommand.self, NotifyTestCommand.self], defaultSubcommand: NotifyStatusCommand.self)
}

struct NotifyStatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "What each channel took, what waits for it, why it fails.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let assembly = try await Assembly.make(global)
        let channels = try await assembly.engine.channelStatus()
        try Listing(
            document: Document(channels: channels), items: channels,
            columns: [
                Column("channel") { $0.channel }, Column("type") { $0.type },
                Column("sent", isNumber: true) { String($0.sent) },
                Column("failures", isNumber: true) { String($0.failures) },
                Column("waiting", isNumber: true) { String($0.pending) },
                Column("last success") { Time.text($0.lastSuccessAt) },
                Column("failing because") { $0.lastError ?? "-" },
            ]
        ).print(output.output)
    }

    struct Document: Encodable {
        let schema = 1
        let channels: [StatusReport.Channel]
    }
}

struct NotifyTestCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "test", abstract: "Send a test message through one channel, now.")

    @OptionGroup var global: GlobalOptions
    @Argument(help: "The channel.")
    var channel: String

    func run() async throws {
        let assembly = try await Assembly.make(global)
        try await assembly.notifier().test(try Name(channel))
        Terminal.note("the channel \(channel) has taken the message")
    }
}
