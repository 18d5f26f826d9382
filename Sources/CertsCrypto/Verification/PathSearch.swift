internal import COpenSSL
import CertsCore
import Foundation

/// Looks for a path from a leaf to an anchor, trying every issuer that could have signed (RFC 4158), within bounds.
///
/// OpenSSL's own builder takes the first issuer that fits and does not come back from a dead end, so the paths are built
/// here; OpenSSL verifies the signatures. A path is judged while it grows, from the leaf upwards: whatever a new issuer
/// demands (path length, name constraints, usage) is about certificates that are already in the path.
struct PathSearch {
    /// Bounds of the work that an attacker's chain can cause.
    private enum Limit {
        static let intermediates = 10
        static let signatures = 256
        static let candidates = 4_096
        static let nameComparisons = 250_000
    }

    /// A path that failed, and how near it came.
    private struct Attempt {
        var rank: Int
        var path: [PathCertificate]
        var findings: [Finding]
    }

    private let purpose: ChainVerifier.Purpose
    private let time: Int64
    private let maxDepth: Int?
    private let anchors: [CanonicalName: [PathCertificate]]
    private let untrusted: [CanonicalName: [PathCertificate]]
    private let revocation: Revocation
    private let ignoresForm: Bool
    private var best: Attempt?
    private var signatures: [SignatureKey: Bool] = [:]
    private var candidates = 0
    private var nameComparisons = 0

    private struct SignatureKey: Hashable {
        let child: Fingerprint
        let issuer: Fingerprint
    }

    init(_ verifier: ChainVerifier, revocation: Revocation, time: Int64) {
        purpose = verifier.purpose
        self.time = time
        maxDepth = verifier.maxDepth
        ignoresForm = verifier.ignoresForm
        self.revocation = revocation
        var known: Set<Certificate> = []
        let roots = verifier.roots.filter { known.insert($0).inserted }.map { PathCertificate($0) }
        let others = verifier.untrusted.filter { known.insert($0).inserted }.map { PathCertificate($0) }
        anchors = Dictionary(grouping: roots, by: \.subject)
        untrusted = Dictionary(grouping: others, by: \.subject)
    }

    /// - Returns: the path and no findings, or the best attempt with what is wrong with it.
    mutating func run(from leaf: PathCertificate) -> (path: [PathCertificate], findings: [Finding]) {
        if let path = extend([leaf]) { return (path, []) }
        guard let best else {
            let remedy = "add the missing intermediate, or the root that issued it"
            return ([leaf], [.error("issuer-missing", "no path to a trusted root was found", remedy)])
        }
        return (best.path, best.findings)
    }

    private mutating func extend(_ path: [PathCertificate]) -> [PathCertificate]? {
        guard let child = path.last else { return nil }
        let intermediates = path.dropFirst().lazy.filter { !$0.isSelfIssued }.count
        let mayGrow = path.count <= Limit.intermediates && intermediates <= (maxDepth ?? Limit.intermediates)
        var isDeadEnd = true
        for (issuer, isAnchor) in issuers(of: child) where !repeats(issuer, in: path) {
            isDeadEnd = false
            candidates += 1
            guard candidates <= Limit.candidates, signatures.count < Limit.signatures else {
                note(.init(rank: 1_000, path: path, findings: [Self.tooMuchWork]))
                return nil
            }
            var findings = judge(issuer, isAnchor: isAnchor, below: path)
            if !isAnchor, !mayGrow || (!issuer.isSelfIssued && intermediates + 1 > (maxDepth ?? Limit.intermediates)) {
                findings.append(
                    .error(
                        "too-deep", "the chain has more intermediates than allowed",
                        "use a shorter chain, or allow a greater depth"))
            }
            let isSigned = signature(of: child, by: issuer)
            if !isSigned {
                findings = [
                    .error(
                        "signature-invalid", "\(child.description) was not signed by \(issuer.description)",
                        "use the chain that the issuer gave for this certificate")
                ]
            }
            let grown = path + [issuer]
            if isSigned, !isAnchor, issuer.isSelfIssued, signature(of: issuer, by: issuer) {
                // A root that nobody trusts: nothing above it can change that.
                note(.init(rank: 250 + path.count, path: grown, findings: [Self.untrusted(issuer)]))
                continue
            }
            if findings.isEmpty, isAnchor { findings = judgeWhole(grown) }
            guard findings.isEmpty else {
                note(
                    .init(
                        rank: (isSigned ? 200 : 0) + (isAnchor ? 100 : 0) + path.count, path: grown, findings: findings)
                )
                continue
            }
            if isAnchor { return grown }
            if let found = extend(grown) { return found }
        }
        if isDeadEnd { note(deadEnd(path, child)) }
        return nil
    }

    private func deadEnd(_ path: [PathCertificate], _ child: PathCertificate) -> Attempt {
        let remedy =
            "add the certificate of its issuer: to the chain if it is an intermediate, to the trusted roots if it is one"
        let isSelfSigned = child.certificate.record.selfSigned
        let finding: Finding =
            isSelfSigned
            ? Self.untrusted(child)
            : .error(
                "issuer-missing",
                "the issuer of \(child.description) is neither in the chain nor among the trusted roots", remedy)
        return Attempt(rank: 50 + path.count, path: path, findings: [finding])
    }

    private static func untrusted(_ root: PathCertificate) -> Finding {
        .error(
            "untrusted", "\(root.description) is self-signed and not among the trusted roots",
            "add it to the trusted roots, if you do trust it")
    }

    private mutating func note(_ attempt: Attempt) {
        if let best,
            best.rank > attempt.rank || (best.rank == attempt.rank && best.findings.count <= attempt.findings.count)
        {
            return
        }
        best = attempt
    }

    private static var tooMuchWork: Finding {
        .error(
            "too-complex", "there are too many possible paths to try them all",
            "give only the intermediates that belong to this certificate")
    }

    // MARK: - Candidates

    /// Anchors first; among each, those that the key identifiers point to, then those that are valid now.
    private func issuers(of child: PathCertificate) -> [(PathCertificate, isAnchor: Bool)] {
        func sorted(_ list: [PathCertificate]) -> [PathCertificate] {
            list.count < 2
                ? list
                : list.enumerated().sorted { (score($0.element), -$0.offset) > (score($1.element), -$1.offset) }.map(
                    \.element)
        }
        func score(_ issuer: PathCertificate) -> Int {
            let isCurrent = (issuer.notBefore?.seconds ?? .max) <= time && time <= (issuer.notAfter?.seconds ?? .min)
            return (matchesKeyID(child, issuer) ? 2 : 0) + (isCurrent ? 1 : 0)
        }
        return sorted(anchors[child.issuer] ?? []).map { ($0, true) }
            + sorted(untrusted[child.issuer] ?? []).map { ($0, false) }
    }

    private func matchesKeyID(_ child: PathCertificate, _ issuer: PathCertificate) -> Bool {
        guard let wanted = child.extensions.authorityKey?.keyID, let own = issuer.extensions.subjectKeyID else {
            return true
        }
        return wanted == own
    }

    /// The same name with the same key twice is a loop, whatever the certificates between them.
    private func repeats(_ issuer: PathCertificate, in path: [PathCertificate]) -> Bool {
        path.contains {
            $0.certificate == issuer.certificate || ($0.subject == issuer.subject && $0.publicKey == issuer.publicKey)
        }
    }

    private mutating func signature(of child: PathCertificate, by issuer: PathCertificate) -> Bool {
        // A child that names another key was not signed with this one; that saves the expensive check.
        guard matchesKeyID(child, issuer) else { return false }
        let key = SignatureKey(child: child.certificate.fingerprint, issuer: issuer.certificate.fingerprint)
        if let known = signatures[key] { return known }
        let result = child.isSigned(by: issuer)
        signatures[key] = result
        return result
    }

    // MARK: - Judgement

    /// What is wrong with `issuer` as the next in `path`.
    private mutating func judge(_ issuer: PathCertificate, isAnchor: Bool, below path: [PathCertificate]) -> [Finding] {
        var result = CertificateRules(
            certificate: issuer, role: isAnchor ? .anchor : .intermediate, purpose: purpose, time: time
        ).findings()
        let intermediates = path.dropFirst().lazy.filter { !$0.isSelfIssued }.count
        if let length = issuer.extensions.constraints?.pathLength, length >= 0, intermediates > length {
            result.append(
                .error(
                    "path-length",
                    "\(issuer.description) allows \(length) intermediates below it, and there are \(intermediates)",
                    "use another chain, or another issuer"))
        }
        if let child = path.last, let authority = child.extensions.authorityKey {
            let namesOther =
                (authority.issuer.map { $0 != issuer.issuer } ?? false)
                || (authority.serial.map { $0 != issuer.serial } ?? false)
            if namesOther {
                result.append(
                    .error(
                        "authority-key-id",
                        "\(child.description) names another certificate of its issuer than \(issuer.description)",
                        "use the chain that the issuer gave for this certificate"))
            }
        }
        if ignoresForm { result.removeAll { CertificateRules.formal.contains($0.id) } }
        if let constraints = issuer.extensions.nameConstraints {
            result += violations(of: constraints, issuer, below: path)
        }
        return result
    }

    private mutating func violations(
        of constraints: NameConstraints, _ issuer: PathCertificate, below path: [PathCertificate]
    ) -> [Finding] {
        for (index, certificate) in path.enumerated() where index == 0 || !certificate.isSelfIssued {
            let names = nameComparisons > Limit.nameComparisons ? [] : certificate.constrainedNames
            let work = names.count.multipliedReportingOverflow(by: constraints.count)
            nameComparisons =
                work.overflow ? .max : nameComparisons.addingReportingOverflow(work.partialValue).partialValue
            guard nameComparisons >= 0, nameComparisons <= Limit.nameComparisons else {
                return [
                    .error(
                        "too-complex",
                        "\(certificate.description) has too many names for the constraints of \(issuer.description)",
                        "split the names over several certificates")
                ]
            }
            for name in names {
                if let violation = constraints.violation(by: name) {
                    return [
                        .error(
                            "name-constraints",
                            "\(issuer.description) may not issue \(certificate.description): \(violation)",
                            "use an issuer that may issue these names")
                    ]
                }
            }
        }
        return []
    }

    /// What only a whole path shows: policies and revocation.
    private func judgeWhole(_ path: [PathCertificate]) -> [Finding] {
        var result: [Finding] = []
        for index in path.indices.dropLast() {
            result += revocation.findings(for: path[index], issuer: path[index + 1], isLeaf: index == 0)
        }
        if path.contains(where: \.extensions.hasPolicyLimits), !satisfiesPolicies(path) {
            result.append(
                .error(
                    "policy", "the certificate policies of the chain contradict each other, or none is left",
                    "use another chain, or another issuer"))
        }
        return result
    }

    private func satisfiesPolicies(_ path: [PathCertificate]) -> Bool {
        guard let stack = certs_sk_X509_new_null() else { return false }
        defer { certs_sk_X509_free(stack) }
        for certificate in path {
            guard certificate.certificate.withX509({ certs_sk_X509_push(stack, $0) }) > 0 else { return false }
        }
        var tree: OpaquePointer?
        var isExplicit: Int32 = 0
        defer {
            X509_policy_tree_free(tree)
            OpenSSLErrors.clear()
        }
        return withExtendedLifetime(path) { X509_policy_check(&tree, &isExplicit, stack, nil, 0) == 1 }
    }
}

extension PathCertificate {
    /// The names to which constraints apply (RFC 5280 §4.2.1.10).
    var constrainedNames: [GeneralName] {
        var result = extensions.names ?? []
        if !subject.isEmpty { result.append(.directory(subject)) }
        let hasMail = result.contains { if case .email = $0 { true } else { false } }
        if !hasMail { result += subject.emails.map { .email($0) } }
        return result
    }
}
