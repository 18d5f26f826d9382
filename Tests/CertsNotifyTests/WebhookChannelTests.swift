import CertsCore
import CertsHTTP
import CertsTesting
import Foundation
import Synchronization
import Testing

@testable import CertsNotify

/// Messages by `POST`, to a receiver that is good or bad.
@Suite(.timeLimit(.minutes(5))) struct WebhookChannelTests {
    private let name: Name
    private let secret = Secret(copying: Array("kept between us".utf8))

    init() throws { name = try Name("ops") }

    private func channel(_ url: String, signs: Bool = true) -> WebhookChannel {
        let secret = secret
        let reader: @Sendable () throws -> Secret = { secret }
        return WebhookChannel(name: name, url: url, secret: signs ? reader : nil)
    }

    private func header(_ name: String, _ request: TestResponder.Request) -> String? {
        request.head.split(separator: "\r\n").first { $0.lowercased().hasPrefix("\(name.lowercased()): ") }
            .map { String($0.dropFirst(name.count + 2)) }
    }

    @Test func `is signed so that Python can verify it`() async throws {
        let receiver = try TestResponder(.answers { _ in Data("thanks".utf8) })
        let message = try sampleMessage()
        try await channel(receiver.url).send(message)
        let request = try #require(receiver.requests.first)
        #expect(request.head.hasPrefix("POST /ocsp HTTP/1.1\r\n"))
        #expect(header("Content-Type", request) == "application/json")
        #expect(header("Certs-Message", request) == message.id)
        let timestamp = try #require(header("Certs-Timestamp", request))
        #expect(abs(try #require(Double(timestamp)) - Date().timeIntervalSince1970) < 600)

        let directory = try TemporaryDirectory()
        let body = try directory.write(request.body, to: "body")
        let script = """
            import hashlib, hmac, sys
            body = sys.argv[1].encode() + b"." + open(sys.argv[2], "rb").read()
            print("v1=" + hmac.new(b"kept between us", body, hashlib.sha256).hexdigest())
            """
        let verified = try Tool.run("/usr/bin/python3", "-c", script, timestamp, body)
        #expect(verified.output.trimmingCharacters(in: .whitespacesAndNewlines) == header("Certs-Signature", request))

        let document = try #require(try JSONSerialization.jsonObject(with: request.body) as? [String: Any])
        #expect(document["schema"] as? Int == 1)
        #expect(document["summary"] as? String == "messenger: failed")
        #expect(document["at"] as? String == "2027-01-15T08:00:00Z")
        let change = try #require((document["changes"] as? [[String: Any]])?.first)
        #expect(change["event"] as? String == "failed")
        #expect(change["dueAt"] is NSNull, "unknown is null")
        #expect(change["notAfter"] as? String == "2027-01-16T11:46:40Z")
    }

    @Test func `without a secret there is no signature`() async throws {
        let receiver = try TestResponder(.answers { _ in Data() })
        try await channel(receiver.url, signs: false).send(try sampleMessage())
        let request = try #require(receiver.requests.first)
        #expect(header("Certs-Signature", request) == nil)
    }

    /// With many services the path is the password.
    @Test func `its path stands in no message`() async throws {
        let port = try LoopbackPort.reserve()
        let error = await #expect(throws: CertsError.self) {
            try await channel("http://127.0.0.1:\(port)/services/T0/S3CR3T?x=S3CR3T").send(try sampleMessage())
        }
        let text = [error?.description, error?.report, error?.subject].compactMap(\.self).joined()
        #expect(text.contains("127.0.0.1:\(port)/…"))
        #expect(!text.contains("S3CR3T"))
    }

    @Test(arguments: [302, 401, 404, 500, 503])
    func `an answer other than 2xx is a failure, and no redirect is followed`(status: Int) async throws {
        let receiver = try TestResponder(.status(status))
        let error = await #expect(throws: CertsError.self) { try await channel(receiver.url).send(sampleMessage()) }
        #expect(error?.code == .notificationFailed)
        #expect(error?.message.contains("\(status)") == true)
        #expect(receiver.requests.count == 1)
    }

    @Test func `a receiver that hangs is left at the deadline`() async throws {
        let receiver = try TestResponder(.hangs)
        var channel = channel(receiver.url)
        channel.limits.deadline = .seconds(1)
        let error = await #expect(throws: CertsError.self) { try await channel.send(sampleMessage()) }
        #expect(error?.code == .notificationFailed)
        #expect(error?.retry == .later)
    }

    @Test func `a receiver that floods, closes or is not there is a failure`() async throws {
        for url in [
            try TestResponder(.flood(1 << 20)).url, try TestResponder(.closes).url,
            "http://127.0.0.1:\(try LoopbackPort.reserve())/",
        ] {
            let error = await #expect(throws: CertsError.self) { try await channel(url).send(sampleMessage()) }
            #expect(error?.code == .notificationFailed)
        }
    }

    @Test func `the secret is read for each message, and a failure to read it is told`() async throws {
        let receiver = try TestResponder(.answers { _ in Data() })
        let channel = WebhookChannel(
            name: name, url: receiver.url, secret: { throw CertsError(.fileMissing, "no secret there") })
        let error = await #expect(throws: CertsError.self) { try await channel.send(sampleMessage()) }
        #expect(error?.code == .fileMissing)
        #expect(receiver.requests.isEmpty)
    }

    @Test(arguments: [
        ("https://hooks.example.com/a", true), ("http://127.0.0.1:8080/", true), ("http://[::1]:8080/", true),
        ("http://localhost/", true), ("http://hooks.example.com/", false), ("http://127.0.0.1.example.com/", false),
        ("http://10.0.0.1/", false), ("http://localhost@example.com/", false), ("ftp://127.0.0.1/", false),
        ("127.0.0.1", false), ("http://0.0.0.0/", false),
    ])
    func `in the clear only to this host`(url: String, isAllowed: Bool) async throws {
        #expect(WebhookChannel.isAllowed(url) == isAllowed)
        guard !isAllowed else { return }
        let error = await #expect(throws: CertsError.self) { try await channel(url).send(sampleMessage()) }
        #expect(error?.code == .configurationInvalid)
    }
}
