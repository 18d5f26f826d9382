import Foundation

/// Where a node has something else than what is declared for it.
package struct Drift: Sendable, Hashable {
    package let node: NodeID
    package let certificate: Name
    package let path: String
    package let kind: Kind
    /// What differs from what, in one sentence.
    package let message: String
    package let remedy: String

    package enum Kind: String, Sendable, Hashable, CaseIterable {
        /// The file is another certificate, and HAProxy runs with the declared one.
        case diskChanged = "disk-changed"
        /// The file is not as it was deployed, although it holds no other certificate.
        case fileEdited = "file-edited"
        case fileMissing = "file-missing"
        /// HAProxy's memory holds another certificate, and the file is the declared one.
        case memoryChanged = "memory-changed"
        /// Neither is the declared one: HAProxy was started with old content, or somebody deployed.
        case replaced
        /// File and memory are right as far as they can be seen, and something else is served.
        case servedOther = "served-other"
        /// A copy of a bundle that HAProxy loads, or will load at its next start.
        case extraFile = "extra-file"
        /// Nothing that certs has issued has been seen served there yet: that is for `certs rotate`.
        case undeployed
        /// It could not be looked at; nothing is repaired there.
        case unknown
    }

    package init(
        node: NodeID, certificate: Name, path: String, kind: Kind, message: String, remedy: String
    ) {
        self.node = node
        self.certificate = certificate
        self.path = path
        self.kind = kind
        self.message = message
        self.remedy = remedy
    }
}

// MARK: - Judging

extension Drift {
    /// Judges one member of a certificate on a node by what each place holds.
    package static func of(_ member: NodeSight.Member, certificate: Name, on node: NodeID) -> Drift? {
        guard let verdict = verdict(onPlaces: member) ?? verdict(onServed: member) else { return nil }
        return Drift(
            node: node, certificate: certificate, path: member.path, kind: verdict.kind, message: verdict.message,
            remedy: verdict.remedy)
    }

    /// - Parameter why: what stands in the way of looking.
    package static func unknown(_ certificate: Name, on node: NodeID, path: String, why: CertsError) -> Drift {
        Drift(
            node: node, certificate: certificate, path: path, kind: .unknown, message: why.message,
            remedy: why.hint ?? lookFirst)
    }

    /// No revision has been committed: what lies there is not certs' own.
    package static func undeployed(_ certificate: Name, on node: NodeID, path: String) -> Drift {
        Drift(
            node: node, certificate: certificate, path: path, kind: .undeployed,
            message: "no certificate of certs has been seen served here yet",
            remedy: "`certs rotate \(certificate)`; `certs history \(certificate)` tells why, if that was tried")
    }

    private struct Verdict {
        let kind: Kind
        let message: String
        var remedy = "`certs drift --repair` deploys the declared revision again, verified"
    }

    private static let lookFirst = "mend that first: nothing is repaired where nothing can be seen"

    private static func verdict(onPlaces member: NodeSight.Member) -> Verdict? {
        let declared = member.declared.short
        switch (member.disk, member.memory) {
        case (.other(let disk, let begin, let end), .other(let memory, let since, let until)):
            return Verdict(
                kind: .replaced,
                message: "neither is \(declared): the file holds \(text(disk, begin, end)), "
                    + "HAProxy's memory \(text(memory, since, until))")
        case (.other(let disk, let begin, let end), .same):
            return Verdict(
                kind: .diskChanged,
                message: "the file holds \(text(disk, begin, end)), HAProxy runs with \(declared) until it reads it")
        case (.other(let disk, let begin, let end), _):
            return Verdict(
                kind: wronglyServed(member) == nil ? .diskChanged : .replaced,
                message: "the file holds \(text(disk, begin, end)), not \(declared)")
        case (.junk, _):
            return Verdict(
                kind: .fileEdited, message: "there is no certificate in the file: HAProxy's next start fails")
        case (.missing, _):
            return Verdict(
                kind: .fileMissing, message: "there is no file: HAProxy's next start fails, or serves another one")
        case (_, .other(let memory, let begin, let end)):
            return Verdict(
                kind: .memoryChanged,
                message: "HAProxy's memory holds \(text(memory, begin, end)), the file \(declared): "
                    + "its next reload changes what is served")
        case (_, .missing):
            return Verdict(kind: .memoryChanged, message: "HAProxy has nothing from this file in its memory")
        case (.edited, _):
            return Verdict(
                kind: .fileEdited,
                message: "the leaf in the file is the right one, but chain, key or form are not as deployed")
        case (.unknown(let why), _):
            return Verdict(kind: .unknown, message: "the file cannot be looked at: \(why)", remedy: lookFirst)
        default: return nil
        }
    }

    private static func verdict(onServed member: NodeSight.Member) -> Verdict? {
        if let wrong = wronglyServed(member), let served = wrong.served {
            let isSeen = member.memory == .same
            return Verdict(
                kind: .servedOther,
                message: "\(wrong.endpoint.address) (\(wrong.endpoint.serverName ?? "no server name")) serves "
                    + "\(served.short), although \(isSeen ? "file and memory are right" : "the file is right")",
                remedy: isSeen
                    ? "look for another certificate with the same name in the `bind`, and for another process on the port"
                    : "`certs drift --repair` lets HAProxy read the file again, verified")
        }
        if let silent = member.served.first(where: { $0.served == nil }) {
            return Verdict(
                kind: .unknown,
                message: "\(silent.endpoint.address) does not answer: \(silent.problem ?? "nothing is served")",
                remedy: "start HAProxy, or correct the endpoint; nothing is repaired where nothing can be seen")
        }
        if case .unknown(let why) = member.memory {
            return Verdict(
                kind: .unknown, message: "HAProxy's memory cannot be looked at: \(why)", remedy: lookFirst)
        }
        return nil
    }

    private static func wronglyServed(_ member: NodeSight.Member) -> EndpointObservation? {
        member.served.first { $0.served != nil && $0.served != member.declared }
    }

    private static func text(_ fingerprint: String, _ begin: Date?, _ end: Date?) -> String {
        let since = begin.map { ", valid from \($0.formatted(.iso8601))" } ?? ""
        let until = end.map { ", valid until \($0.formatted(.iso8601))" } ?? ""
        return "\(fingerprint.prefix(16))\(since)\(until)"
    }
}
