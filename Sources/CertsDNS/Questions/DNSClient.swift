package import CertsCore
import Foundation

/// Asks one DNS server, over UDP and, where an answer does not fit, over TCP (RFC 1035 §4.2, RFC 7766).
package struct DNSClient: Sendable {
    package var server: SocketAddress
    /// For one question with everything that belongs to it: repetitions and TCP.
    package var timeout: Duration
    /// How often a question is sent over UDP, at even distances.
    package var attempts: Int

    /// Fits into any path without fragments (https://www.dnsflagday.net/2020/).
    private static let announcedSize: UInt16 = 1232

    package init(server: SocketAddress, timeout: Duration = .seconds(6), attempts: Int = 3) {
        self.server = server
        self.timeout = timeout
        self.attempts = max(1, attempts)
    }

    /// - Parameter recursive: whether the server is to find out what it does not know itself (RD).
    /// - Throws: `dns.failed`; that there is no such name or no such record is an answer, not an error.
    package func ask(_ question: DNSQuestion, recursive: Bool = true) async throws(CertsError) -> DNSAnswer {
        switch await result(of: question, recursive: recursive) {
        case .success(let answer): return answer
        case .failure(let failure): throw failure.error
        }
    }

    /// As ``ask(_:recursive:)``, with the reason of a failure as a value. Runs on ``BlockingPool/network``.
    package func result(of question: DNSQuestion, recursive: Bool = true) async -> Result<DNSAnswer, DNSFailure> {
        let client = self
        do {
            return .success(
                try await BlockingPool.network.run { try client.askBlocking(question, recursive: recursive) })
        } catch {
            let reason = (error as? Failed)?.reason ?? .unreachable("\(error)")
            return .failure(DNSFailure(reason: reason, server: server, question: question))
        }
    }

    private struct Failed: Error {
        var reason: DNSFailure.Reason
    }

    private func askBlocking(_ question: DNSQuestion, recursive: Bool) throws -> DNSAnswer {
        let deadline = ContinuousClock.now + timeout
        do {
            return try exchange(question, recursive, Self.announcedSize, deadline)
        } catch let failed as Failed {
            // FORMERR, NOTIMP or BADVERS: a server that does not know EDNS (RFC 6891 §7).
            guard [.code(1), .code(4), .code(16)].contains(failed.reason) else { throw failed }
            return try exchange(question, recursive, nil, deadline)
        }
    }

    private func exchange(
        _ question: DNSQuestion, _ recursive: Bool, _ size: UInt16?, _ deadline: ContinuousClock.Instant
    ) throws -> DNSAnswer {
        var last = DNSFailure.Reason.timeout
        for attempt in 1...attempts {
            let until = attempt == attempts ? deadline : min(deadline, ContinuousClock.now + timeout / attempts)
            // A fresh identifier and a fresh port each time.
            guard let query = Packet.query(question, recursive: recursive, announcedSize: size), let wire = query.wire
            else { throw Failed(reason: .badName) }
            do {
                let connection = try Connection.udp(to: server, deadline: until)
                try connection.send(datagram: wire)
                if let answer = try receive(connection, query.identifier, question, &last) { return answer }
                return try overTCP(question, recursive, size, deadline)
            } catch Connection.Problem.timeout {
                continue
            } catch let problem as Connection.Problem {
                throw Failed(reason: problem.reason)
            }
        }
        throw Failed(reason: last)
    }

    /// Reads until an answer to this question comes: anybody can send us a datagram that only looks like one.
    /// - Returns: `nil` if the answer is cut off.
    private func receive(
        _ connection: borrowing Connection, _ identifier: UInt16, _ question: DNSQuestion,
        _ last: inout DNSFailure.Reason
    ) throws -> DNSAnswer? {
        while true {
            let wire = try connection.receiveDatagram()
            // RFC 1035 §4.1.1. A message that was cut off need not parse: its header says so.
            guard wire.count >= 12, UInt16(wire[0]) << 8 | UInt16(wire[1]) == identifier, wire[2] & 0x80 != 0 else {
                last = .malformed
                continue
            }
            if wire[2] & 0x02 != 0 { return nil }
            guard let answer = try read(wire, identifier, question) else {
                last = .malformed
                continue
            }
            return answer
        }
    }

    private func overTCP(
        _ question: DNSQuestion, _ recursive: Bool, _ size: UInt16?, _ deadline: ContinuousClock.Instant
    ) throws -> DNSAnswer {
        guard let query = Packet.query(question, recursive: recursive, announcedSize: size), let wire = query.wire
        else { throw Failed(reason: .badName) }
        do {
            let connection = try Connection.tcp(to: server, deadline: deadline)
            try connection.send(message: wire)
            let reply = try connection.receiveMessage()
            guard let answer = try read(reply, query.identifier, question) else { throw Failed(reason: .malformed) }
            return answer
        } catch let problem as Connection.Problem {
            throw Failed(reason: problem.reason)
        }
    }

    /// - Returns: `nil` if this is no answer to the question.
    private func read(_ wire: [UInt8], _ identifier: UInt16, _ question: DNSQuestion) throws -> DNSAnswer? {
        guard let packet = Packet(parsing: wire), packet.isResponse, packet.identifier == identifier,
            packet.answers(question)
        else { return nil }
        switch packet.responseCode {
        case 0: return packet.answer(noSuchName: false)
        case 3: return packet.answer(noSuchName: true)
        case 2: throw Failed(reason: .serverFailure)
        case 5: throw Failed(reason: .refused)
        case let code: throw Failed(reason: .code(code))
        }
    }
}

extension Connection.Problem {
    var reason: DNSFailure.Reason {
        switch self {
        case .timeout: .timeout
        case .unreachable(let why): .unreachable(why)
        case .noRoute(let why): .noRoute(why)
        case .malformed: .malformed
        }
    }
}
