import Foundation

/// Where a node has something else than what is declared for it.
package struct Drift: Sendable, Hashable {
    package let node: NodeID
    /// `nil`: it is about the node, not about one certificate.
    package let certificate: Name?
    package let path: String
    package let kind: Kind
    /// What differs from what, in one sentence.
    package let message: String
    package let remedy: String

    package enum Kind: String, Sendable, Hashable, CaseIterable {
        /// The file is another certificate, and HAProxy runs with the declared one.
        case diskChanged = "disk-changed"
        /// The leaf is the declared one, but the bytes of the file are not.
        case fileEdited = "file-edited"
        case fileMissing = "file-missing"
        /// HAProxy's memory holds another certificate, and the file is the declared one.
        case memoryChanged = "memory-changed"
        /// File and memory are the same other certificate: HAProxy was restarted with old content, or somebody deployed.
        case replaced
        /// File and memory are right, and something else is served.
        case servedOther = "served-other"
        /// A copy of a bundle that HAProxy loads, or will load at its next start.
        case extraFile = "extra-file"
        /// The node could not be looked at.
        case unknown
    }

    package init(
        node: NodeID, certificate: Name?, path: String, kind: Kind, message: String, remedy: String
    ) {
        self.node = node
        self.certificate = certificate
        self.path = path
        self.kind = kind
        self.message = message
        self.remedy = remedy
    }

    /// Judges one member of a certificate on a node by what each place holds.
    package static func of(_ member: NodeSight.Member, certificate: Name, on node: NodeID) -> Drift? {
        func drift(_ kind: Kind, _ message: String, _ remedy: String? = nil) -> Drift {
            Drift(
                node: node, certificate: certificate, path: member.path, kind: kind, message: message,
                remedy: remedy ?? "`certs drift --repair` deploys the declared revision again, verified")
        }
        let wrong = member.served.first { $0.served != nil && $0.served != member.declared }
        switch (member.disk, member.memory) {
        case (.other(let disk, let begin, let end), .other):
            return drift(.replaced, "file and memory hold \(text(disk, begin, end)), not \(member.declared.short)")
        case (.other(let disk, let begin, let end), .same):
            return drift(
                .diskChanged,
                "the file holds \(text(disk, begin, end)), HAProxy runs with \(member.declared.short) until it reads the file again"
            )
        case (.other(let disk, let begin, let end), _):
            return drift(
                wrong == nil ? .diskChanged : .replaced,
                "the file holds \(text(disk, begin, end)), not \(member.declared.short)")
        case (.missing, _):
            return drift(.fileMissing, "there is no file: HAProxy's next start fails or serves another one")
        case (_, .other(let memory, let begin, let end)):
            return drift(
                .memoryChanged,
                "HAProxy's memory holds \(text(memory, begin, end)), and the file \(member.declared.short): the next reload changes what is served"
            )
        case (_, .missing): return drift(.memoryChanged, "HAProxy has nothing from this file in its memory")
        case (.edited, _):
            return drift(
                .fileEdited, "the leaf in the file is the right one, but chain, key or form are not as deployed")
        case (.unknown(let why), _): return drift(.unknown, "the file cannot be looked at: \(why)", "mend that first")
        default: break
        }
        if let wrong, let served = wrong.served {
            return drift(
                .servedOther,
                "\(wrong.endpoint.address) (\(wrong.endpoint.serverName ?? "no server name")) serves \(served.short), although file and memory are right",
                "look for another process on the port, and for another file with the same name in the `bind`")
        }
        if let silent = member.served.first(where: { $0.served == nil }) {
            return drift(
                .unknown, "\(silent.endpoint.address) does not answer: \(silent.problem ?? "nothing is served")",
                "start HAProxy, or correct the endpoint")
        }
        return nil
    }

    private static func text(_ fingerprint: String, _ begin: Date?, _ end: Date?) -> String {
        let until = end.map { ", valid until \($0.formatted(.iso8601))" } ?? ""
        let since = begin.map { ", valid from \($0.formatted(.iso8601))" } ?? ""
        return "\(fingerprint.prefix(16))\(since)\(until)"
    }
}
