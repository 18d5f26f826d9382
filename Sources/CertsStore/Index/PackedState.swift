import CertsCore
import Foundation

// The column `packed` of a certificate's row: its whole `CertificateState`.

extension CertificateState {
    /// The form that is written. The one before it is read, too: a database of yesterday is no damaged one.
    private static let packingVersion = 3
    private static let earlierVersion = 2

    /// - Throws: an `EncodingError` of the rare part that is stored as JSON.
    func packed() throws -> Data {
        var packer = Packer()
        packer.put(Self.packingVersion)
        packer.put(name.rawValue)
        packer.put(revision)
        packer.put(issuedRevision)
        packer.put(record) { $1.pack(into: &$0) }
        // In the usual case both are the same leaf: stored once, it is also read once.
        let isCurrent = currentRecord == record
        packer.put(isCurrent)
        if !isCurrent { packer.put(currentRecord) { $1.pack(into: &$0) } }
        packer.put(currentAlternates.map(\.hex))
        packer.put(staple) { packer, staple in
            packer.put(staple.refreshAt)
            packer.put(staple.nextUpdate)
        }
        packer.put(requested) { $1.pack(into: &$0) }
        packer.put(hint) { $1.pack(into: &$0) }
        packer.put(hintCheck) { $1.pack(into: &$0) }
        packer.put(dueAt)
        packer.put(dueReason?.rawValue)
        packer.put(consecutiveFailures)
        packer.put(try lastFailure.map { String(decoding: try StoredJSON.encode($0), as: UTF8.self) })
        packer.put(nextAttemptAt)
        packer.put(isWaiting)
        packer.put(waitingFor)
        packer.put(lastSuccessAt)
        packer.put(targets) { $1.pack(into: &$0) }
        return Data(packer.bytes)
    }

    init(packed: Data) throws {
        self = try packed.withUnsafeBytes { bytes in
            var unpacker = Unpacker(bytes)
            let state = try CertificateState(from: &unpacker)
            guard unpacker.isAtEnd else { throw Unpacker.Malformed() }
            return state
        }
    }

    private init(from unpacker: inout Unpacker) throws {
        let version = try unpacker.int()
        guard version == Self.packingVersion || version == Self.earlierVersion else { throw Unpacker.Malformed() }
        let isEarlier = version == Self.earlierVersion
        self.init(name: try Name(try unpacker.string()))
        revision = try unpacker.optional { try $0.int() }
        issuedRevision = try unpacker.optional { try $0.int() }
        record = try unpacker.optional { try CertificateRecord(from: &$0) }
        let isCurrent = try unpacker.bool()
        currentRecord = isCurrent ? record : try unpacker.optional { try CertificateRecord(from: &$0) }
        currentAlternates = try unpacker.list { try $0.fingerprint() }
        staple = try unpacker.optional { unpacker in
            StapleDates(refreshAt: try unpacker.date(), nextUpdate: try unpacker.optional { try $0.date() })
        }
        requested = try unpacker.optional { try RequestedProperties(from: &$0) }
        if isEarlier {
            // A date that nothing was ever written to.
            _ = try unpacker.optional { try $0.date() }
        } else {
            hint = try unpacker.optional { try RenewalHint(from: &$0) }
            hintCheck = try unpacker.optional { try HintCheck(from: &$0) }
        }
        dueAt = try unpacker.optional { try $0.date() }
        dueReason = try unpacker.optional { try $0.word(PlanReason.self) }
        consecutiveFailures = try unpacker.int()
        lastFailure = try unpacker.optional {
            try StoredJSON.decode(Rotation.Failure.self, from: Data(try $0.string().utf8))
        }
        nextAttemptAt = try unpacker.optional { try $0.date() }
        isWaiting = try unpacker.bool()
        if !isEarlier { waitingFor = try unpacker.optional { try $0.string() } }
        lastSuccessAt = try unpacker.optional { try $0.date() }
        targets = try unpacker.list { try TargetObservation(from: &$0) }
    }
}

extension RenewalHint {
    fileprivate func pack(into packer: inout Packer) {
        for date in [start, end, pick, checkAt] { packer.put(date) }
        packer.put(explanationURL)
        packer.put(leaf.hex)
    }

    fileprivate init(from unpacker: inout Unpacker) throws {
        self.init(
            start: try unpacker.date(), end: try unpacker.date(), pick: try unpacker.date(),
            checkAt: try unpacker.date(), explanationURL: try unpacker.optional { try $0.string() },
            leaf: try unpacker.fingerprint())
    }
}

extension HintCheck {
    fileprivate func pack(into packer: inout Packer) {
        packer.put(leaf.hex)
        packer.put(at)
        packer.put(failures)
        packer.put(problem)
    }

    fileprivate init(from unpacker: inout Unpacker) throws {
        self.init(leaf: try unpacker.fingerprint(), at: try unpacker.date())
        failures = try unpacker.int()
        problem = try unpacker.optional { try $0.string() }
    }
}

extension RequestedProperties {
    fileprivate func pack(into packer: inout Packer) {
        packer.put(subject.commonName)
        packer.put(subject.organization)
        packer.put(subject.organizationalUnit)
        packer.put(subject.locality)
        packer.put(subject.state)
        packer.put(subject.country)
        packer.put(names) { $0.put($1.description) }
        packer.put(keyAlgorithms.map(\.rawValue))
        packer.put(issuer.rawValue)
    }

    fileprivate init(from unpacker: inout Unpacker) throws {
        var subject = Subject()
        subject.commonName = try unpacker.optional { try $0.string() }
        subject.organization = try unpacker.optional { try $0.string() }
        subject.organizationalUnit = try unpacker.optional { try $0.string() }
        subject.locality = try unpacker.optional { try $0.string() }
        subject.state = try unpacker.optional { try $0.string() }
        subject.country = try unpacker.optional { try $0.string() }
        let names = try unpacker.list { unpacker in
            guard let name = AlternativeName(description: try unpacker.string()) else { throw Unpacker.Malformed() }
            return name
        }
        let algorithms = try unpacker.list { try $0.word(KeyAlgorithm.self) }
        self.init(subject: subject, names: names, keyAlgorithms: algorithms, issuer: try Name(try unpacker.string()))
    }
}

extension TargetObservation {
    fileprivate func pack(into packer: inout Packer) {
        packer.put(node.target.rawValue)
        packer.put(node.node?.rawValue)
        packer.put(state.rawValue)
        packer.put(endpoints) { packer, seen in
            packer.put(seen.endpoint.host)
            packer.put(seen.endpoint.port)
            packer.put(seen.endpoint.serverName)
            packer.put(seen.served?.hex)
            packer.put(seen.servedNotAfter)
            packer.put(seen.problem)
            packer.put(seen.observedAt)
        }
    }

    fileprivate init(from unpacker: inout Unpacker) throws {
        let target = try Name(try unpacker.string())
        let node = NodeID(target, node: try unpacker.optional { try Name(try $0.string()) })
        let state = try unpacker.word(Deployment.State.self)
        let endpoints = try unpacker.list { unpacker in
            let host = try unpacker.string()
            let port = try unpacker.int()
            let endpoint = Endpoint(host: host, port: port, serverName: try unpacker.optional { try $0.string() })
            let served = try unpacker.optional { try $0.fingerprint() }
            let servedNotAfter = try unpacker.optional { try $0.date() }
            let problem = try unpacker.optional { try $0.string() }
            return EndpointObservation(
                endpoint: endpoint, served: served, servedNotAfter: servedNotAfter, problem: problem,
                observedAt: try unpacker.date())
        }
        self.init(node: node, state: state, endpoints: endpoints)
    }
}

extension Unpacker {
    fileprivate mutating func fingerprint() throws -> Fingerprint {
        guard let fingerprint = Fingerprint(hex: try string()) else { throw Malformed() }
        return fingerprint
    }
}
