internal import CLDNS
package import CertsCore
import Foundation

/// Adds and deletes single TXT records at a primary server (RFC 2136), over TCP.
package struct DynamicUpdate: Sendable {
    package var server: SocketAddress
    /// `nil`: asked for at `server`.
    package var zone: String?
    /// `nil`: not signed; the server has to trust our address.
    package var key: TransactionKey?
    package var timeout: Duration

    package init(
        server: SocketAddress, zone: String? = nil, key: TransactionKey? = nil, timeout: Duration = .seconds(10)
    ) {
        self.server = server
        self.zone = zone.map { DomainText.canonical($0) }
        self.key = key
        self.timeout = timeout
    }

    /// Adds one value beside those that are there; adding it twice is the same as once (§3.4.2.2).
    /// - Parameter ttl: seconds.
    /// - Throws: `dns.updateRefused` if the server will not, `dns.failed` if it cannot be reached or believed.
    package func add(_ text: String, at name: String, ttl: UInt32 = 60) async throws(CertsError) {
        try await send(Change(name: name, text: text, ttl: ttl, isAddition: true))
    }

    /// Deletes one value and leaves the others at the same name (§2.5.4); what is not there is no error.
    package func delete(_ text: String, at name: String) async throws(CertsError) {
        try await send(Change(name: name, text: text, ttl: 0, isAddition: false))
    }

    private struct Change: Sendable {
        var name: String
        var text: String
        var ttl: UInt32
        var isAddition: Bool
    }

    private func send(_ change: Change) async throws(CertsError) {
        let zone: String
        if let known = self.zone {
            zone = known
        } else {
            zone = try await DNSClient(server: server, timeout: timeout).zone(of: change.name, recursive: false)
        }
        let update = self
        do {
            try await BlockingPool.network.run { try update.sendBlocking(change, zone) }
        } catch {
            throw CertsError.wrapping(error)
        }
    }

    private func sendBlocking(_ change: Change, _ zone: String) throws(CertsError) {
        guard let message = Self.message(change, zone) else {
            let names = TerminalText.sanitized("\(change.name)' in '\(zone)", limit: 600)
            throw CertsError(
                .dnsFailed, "'\(names)' is no domain name in a zone",
                subject: change.name, hint: "correct the name or the zone")
        }
        let proof = try key?.sign(message)
        guard let wire = message.wire else {
            throw CertsError(
                .dnsFailed, "a dynamic update cannot be written", subject: change.name, hint: "free memory",
                retry: .later)
        }
        let reply: [UInt8]
        do {
            let connection = try Connection.tcp(to: server, deadline: ContinuousClock.now + timeout)
            try connection.send(message: wire)
            reply = try connection.receiveMessage()
        } catch {
            throw unanswered(error.reason, change)
        }
        try check(reply, message.identifier, proof, zone, change)
    }

    private func check(
        _ wire: [UInt8], _ identifier: UInt16, _ proof: TransactionKey.Proof?, _ zone: String, _ change: Change
    ) throws(CertsError) {
        guard let reply = Packet(parsing: wire), reply.isResponse, reply.identifier == identifier,
            ldns_pkt_get_opcode(reply.pointer) == LDNS_PACKET_UPDATE
        else { throw unanswered(.malformed, change) }
        if reply.responseCode != 0 {
            throw UpdateRefusal(server: server, zone: zone, name: change.name, keyName: key?.name)
                .error(code: reply.responseCode, signature: reply.transactionSignature)
        }
        guard let key, let proof else { return }
        guard key.verifies(reply, wire, proof, now: Date()) else {
            throw CertsError(
                .dnsFailed, "the answer of \(server) to the dynamic update is not signed with the key '\(key.name)'",
                subject: change.name,
                hint: "check that nothing stands between this host and the server, and that it knows this key",
                retry: .later)
        }
    }

    private func unanswered(_ reason: DNSFailure.Reason, _ change: Change) -> CertsError {
        let failure = DNSFailure(reason: reason, server: server, question: DNSQuestion(change.name, .txt))
        let name = TerminalText.sanitized(change.name, limit: 300)
        return CertsError(
            .dnsFailed, "the DNS server \(server), sent an update of \(name), \(failure.words)",
            subject: change.name, hint: failure.error.hint, retry: .later)
    }

    /// RFC 2136 §2: the zone stands where a question has its name, the changes where an answer has its authority.
    private static func message(_ change: Change, _ zone: String) -> Packet? {
        guard let packet = Packet(), let question = record(zone, LDNS_RR_TYPE_SOA, LDNS_RR_CLASS_IN, ttl: 0) else {
            return nil
        }
        ldns_pkt_set_opcode(packet.pointer, LDNS_PACKET_UPDATE)
        ldns_rr_set_question(question, true)
        guard packet.append(question, to: LDNS_SECTION_QUESTION) else { return nil }
        // §2.5.4: of the class NONE it means "delete this one".
        let kind = change.isAddition ? LDNS_RR_CLASS_IN : LDNS_RR_CLASS_NONE
        guard let text = record(change.name, LDNS_RR_TYPE_TXT, kind, ttl: change.ttl) else { return nil }
        let bytes = Array(change.text.utf8)
        for start in stride(from: 0, to: max(1, bytes.count), by: 255) {
            let part = bytes[start..<min(start + 255, bytes.count)]
            guard let field = ldns_rdf_new_frm_data(LDNS_RDF_TYPE_STR, part.count + 1, [UInt8(part.count)] + part),
                ldns_rr_push_rdf(text, field)
            else {
                ldns_rr_free(text)
                return nil
            }
        }
        guard packet.append(text, to: LDNS_SECTION_AUTHORITY) else { return nil }
        return packet
    }

    private static func record(
        _ name: String, _ type: ldns_rr_type, _ kind: ldns_rr_class, ttl: UInt32
    ) -> UnsafeMutablePointer<ldns_rr>? {
        guard let owner = Names.encode(DomainText.canonical(name)) else { return nil }
        guard let record = ldns_rr_new() else {
            ldns_rdf_deep_free(owner)
            return nil
        }
        ldns_rr_set_owner(record, owner)
        ldns_rr_set_type(record, type)
        ldns_rr_set_class(record, kind)
        ldns_rr_set_ttl(record, ttl)
        return record
    }
}
