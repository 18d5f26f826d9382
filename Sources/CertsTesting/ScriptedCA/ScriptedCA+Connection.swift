import CertsCore
import CertsCrypto
import Foundation
import Synchronization

/// HTTP/1.1 as far as ACME needs it.
extension ScriptedCA {
    private static let patience = Duration.seconds(60)

    /// Serves one connection until its client, or the script, ends it.
    func serve(_ connection: TLSConnection) {
        var buffer = Data()
        while let (head, body) = Self.read(from: connection, &buffer) {
            guard let request = record(head, body) else { return connection.drop() }
            guard answer(request, over: connection) else { return }
            if request.headers["connection"]?.lowercased() == "close" { return }
        }
    }

    /// Returns whether the connection goes on.
    private func answer(_ request: Request, over connection: TLSConnection) -> Bool {
        var reply: Reply
        switch act(on: request) {
        case .normal:
            reply = perform(request)
        case .change(let change):
            reply = perform(request)
            change(&reply)
        case .reply(let scripted):
            reply = scripted
        case .drop:
            connection.drop()
            return false
        case .loseReply:
            _ = perform(request)
            connection.drop()
            return false
        case .hang:
            _ = try? connection.read(within: Self.patience)
            return false
        }
        if reply.delay > 0 { usleep(UInt32(min(reply.delay, 60) * 1_000_000)) }
        return send(reply, to: request, over: connection)
    }

    private func act(on request: Request) -> Act {
        let rule = state.withLock { state in
            state.rules.last { $0.resource == request.resource && $0.numbers.contains(request.number) }
        }
        return rule?.act(request) ?? .normal
    }

    private func send(_ reply: Reply, to request: Request, over connection: TLSConnection) -> Bool {
        var headers = reply.headers + [("Content-Length", "\(reply.body.count)")]
        if reply.hasNonce, !headers.contains(where: { $0.name.lowercased() == "replay-nonce" }) {
            headers.append(("Replay-Nonce", state.withLock { $0.newNonce() }))
        }
        let head =
            "HTTP/1.1 \(reply.status) Status\r\n" + headers.map { "\($0.name): \($0.value)\r\n" }.joined() + "\r\n"
        var body = request.method == "HEAD" ? Data() : reply.body
        var pace: Int?
        var isCut = false
        switch reply.transport {
        case .whole: break
        case .truncated(let count):
            body = body.prefix(count)
            isCut = true
        case .dripping(let bytes): pace = max(1, bytes)
        }
        do throws(CertsError) {
            try connection.write(Data(head.utf8) + (pace == nil ? body : Data()), within: Self.patience)
            while let pace, !body.isEmpty {
                try connection.write(body.prefix(pace), within: Self.patience)
                body = Data(body.dropFirst(pace))
                sleep(1)
            }
        } catch {
            return false
        }
        if isCut { connection.drop() }
        return !isCut
    }

    /// The next request; `nil`: the client has ended, or does not speak HTTP.
    private static func read(from connection: TLSConnection, _ buffer: inout Data) -> (head: String, body: Data)? {
        let separator = Data("\r\n\r\n".utf8)
        while buffer.count < 1 << 22 {
            if let end = buffer.firstRange(of: separator) {
                let head = String(decoding: buffer[..<end.lowerBound], as: UTF8.self)
                let length = fields(of: head)["content-length"].flatMap { Int($0) } ?? 0
                guard (0...(1 << 21)).contains(length) else { return nil }
                if buffer.distance(from: end.upperBound, to: buffer.endIndex) >= length {
                    let body = Data(buffer[end.upperBound...].prefix(length))
                    buffer = Data(buffer[end.upperBound...].dropFirst(length))
                    return (head, body)
                }
            }
            guard let bytes = try? connection.read(within: patience), !bytes.isEmpty else { return nil }
            buffer += bytes
        }
        return nil
    }

    private static func fields(of head: String) -> [String: String] {
        var fields: [String: String] = [:]
        for line in head.split(separator: "\r\n").dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            fields[line[..<colon].lowercased()] = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
        }
        return fields
    }

    /// Takes a request apart and keeps it.
    private func record(_ head: String, _ body: Data) -> Request? {
        let words = head.prefix { $0 != "\r\n" }.split(separator: " ")
        guard words.count == 3 else { return nil }
        let path = String(words[1])
        let parts = path.split(separator: "/").map(String.init)
        let resource = parts.first.flatMap(Resource.init(rawValue:)) ?? .unknown
        return state.withLock { state in
            let number = (state.counts[resource] ?? 0) + 1
            state.counts[resource] = number
            let request = Request(
                method: String(words[0]), path: path, headers: Self.fields(of: head), body: body, resource: resource,
                arguments: Array(parts.dropFirst()), number: number, received: Date(), message: SignedMessage(body))
            state.requests.append(request)
            return request
        }
    }
}
