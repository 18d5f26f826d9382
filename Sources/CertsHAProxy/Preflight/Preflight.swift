package import CertsCore
import CertsCrypto
import Foundation

/// What can be known before a deployment about the files of a node; changes nothing.
///
/// Each finding has a stable id (documented in docs/haproxy.md) and a remedy.
struct Preflight: Sendable {
    let node: NodeDeclaration
    let files: any LiveFiles
    /// In bytes; `nil`: the method takes a bundle of any size.
    var sizeLimit: Int?

    /// The findings that a reload gets around.
    static let mayFallBack: Set<String> = ["not-loaded", "crt-name", "bundle-too-large", "sct-file"]

    func files(of certificates: [CertificateDeclaration]) async -> [Finding] {
        var findings: [Finding] = []
        for certificate in certificates {
            for path in node.paths(of: certificate) { findings += await file(path) }
        }
        return findings
    }

    /// The same for the files that a deployment is about to replace.
    ///
    /// - Throws: `target.refused` for what would stop it half-way; warnings are returned.
    func beforeDeployment(of bundle: StagedBundle) async throws(CertsError) -> [Finding] {
        var findings: [Finding] = []
        for path in node.paths(of: bundle) { findings += await file(path) }
        if let blocking = findings.first(where: \.isBlocking) {
            throw CertsError(
                .targetRefused, blocking.message, subject: node.id.description, hint: blocking.remedy, retry: .later)
        }
        return findings
    }

    private func file(_ path: String) async -> [Finding] {
        let directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "/"
        guard access(directory.isEmpty ? "/" : directory, W_OK | X_OK) == 0 else {
            let reason = String(cString: strerror(errno))
            return [
                Finding(
                    id: "directory-not-writable", severity: .error,
                    message: "the bundle \(path) cannot be replaced: \(directory): \(reason)",
                    remedy: "let the user of certs write to \(directory): a bundle is replaced by a rename in it")
            ]
        }
        var status = stat()
        if lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFLNK, stat(path, &status) != 0 {
            return [
                Finding(
                    id: "bundle-dangling-link", severity: .error,
                    message: "\(path) is a symbolic link that leads nowhere",
                    remedy: "remove the link, or make the file that it names")
            ]
        }
        do {
            guard let live = try await files.read(path, limit: BundleFiles.sizeLimit) else { return [] }
            return contents(live, path)
        } catch {
            return [Finding(error: CertsError.wrapping(error, subject: path), id: "bundle-unreadable")]
        }
    }

    private func contents(_ live: LiveFile, _ path: String) -> [Finding] {
        var findings: [Finding] = []
        if live.attributes.mode & 0o007 != 0 {
            findings.append(
                Finding(
                    id: "bundle-readable-by-all", severity: .warning,
                    message: "\(path) holds a private key and has the mode \(String(live.attributes.mode, radix: 8))",
                    remedy: "chmod 640 \(path), with a group that HAProxy is in; certs keeps the mode that it finds"))
        }
        if (try? CanonicalBundle.canonical(live.contents)) == nil {
            findings.append(
                Finding(
                    id: "bundle-incomplete", severity: .warning,
                    message: "\(path) has no certificate with its private key: it could not be brought back",
                    remedy: "put leaf, chain and key into the one file, or deploy a new one with `certs rotate`"))
        }
        if let sizeLimit, live.contents.count > sizeLimit {
            findings.append(
                Finding(
                    id: "bundle-too-large", severity: .warning,
                    message: "\(path) has \(live.contents.count) bytes; HAProxy's runtime API takes \(sizeLimit)",
                    remedy: "use a shorter chain, or name a `fallback` that reloads"))
        }
        return findings
    }

    /// What HAProxy loads from a `crt` directory besides the bundles of `users`.
    func foreignFiles(in directory: String?, besides users: [CertificateDeclaration]) async -> [Finding] {
        guard let directory, let names = try? await files.names(in: directory) else { return [] }
        let expected = users.flatMap { node.paths(of: $0) }.compactMap { OwnBundles.split($0)?.file }
        return DirectoryCensus.findings(directory: directory, files: names, expected: Set(expected))
    }
}

extension NodeDeclaration {
    /// The files that HAProxy loads the members of a certificate from.
    func paths(of certificate: CertificateDeclaration) -> [String] {
        certificate.key.members.map { bundlePath(for: certificate.name, slot: $0.slot) }
    }
}

extension ReloadTarget {
    package func inspect(_ certificates: [CertificateDeclaration]) async -> [Finding] {
        await inspect(certificates, among: certificates)
    }

    /// - Parameter users: every certificate of this node.
    func inspect(_ certificates: [CertificateDeclaration], among users: [CertificateDeclaration]) async -> [Finding] {
        let paths = certificates.flatMap { declaration.paths(of: $0) }
        let preflight = Preflight(node: declaration, files: files)
        return await reloader.check(bundlePaths: paths) + preflight.files(of: certificates)
            + preflight.foreignFiles(in: declaration.listFile, besides: users)
    }
}

extension RuntimeTarget {
    package func inspect(_ certificates: [CertificateDeclaration]) async -> [Finding] {
        await inspect(certificates, among: certificates)
    }

    /// - Parameter users: every certificate of this node.
    func inspect(_ certificates: [CertificateDeclaration], among users: [CertificateDeclaration]) async -> [Finding] {
        let onDisk = await preflight.files(of: certificates)
        do {
            let inMemory = try await locked { try await memory(certificates) }
            let directory = await loadedDirectory()?.directory ?? declaration.listFile
            return inMemory + onDisk + (await preflight.foreignFiles(in: directory, besides: users))
        } catch {
            let failure = CertsError.wrapping(error, subject: socket)
            return [Finding(error: failure, id: Self.findingID(failure.code))] + onDisk
        }
    }

    var preflight: Preflight { Preflight(node: declaration, files: files, sizeLimit: RuntimeCommand.sizeLimit) }

    private static func findingID(_ code: CertsError.Code) -> String {
        switch code {
        case .targetUnreachable: "socket-missing"
        case .targetRefused: "socket-not-admin"
        case .targetForeignTransaction: "foreign-transaction"
        case .lockHeld: "socket-busy"
        case .targetUnexpectedReply: "not-haproxy"
        default: "socket-unusable"
        }
    }

    private func memory(_ certificates: [CertificateDeclaration]) async throws -> [Finding] {
        let process = try await session.process()
        guard !process.isStopping else {
            return [
                Finding(
                    id: "process-stopping", severity: .error,
                    message: "the HAProxy at \(socket) (pid \(process.pid)) is being reloaded or stopped",
                    remedy: "try again; if it stays, two HAProxys share the socket's path: see `show proc`")
            ]
        }
        var findings: [Finding] = []
        if let release = process.release, release.lexicographicallyPrecedes(Self.oldestRelease) {
            findings.append(
                Finding(
                    id: "haproxy-too-old", severity: .error,
                    message: "HAProxy \(process.version) cannot replace a certificate while it runs",
                    remedy: "use HAProxy 2.2 or later, or a method that reloads"))
        }
        let list = try await session.list()
        try refuseForeignTransaction(list)
        try await session.requireAdmin()
        for certificate in certificates {
            for member in certificate.key.members {
                findings += await loaded(certificate, member.slot, list)
            }
        }
        return findings
    }

    /// The first with `set ssl cert` and `commit ssl cert`.
    private static let oldestRelease = [2, 2]

    private func loaded(
        _ certificate: CertificateDeclaration, _ slot: KeyType?, _ list: RuntimeReply.CertificateList
    ) async -> [Finding] {
        let path = declaration.loadedPath(for: certificate.name, slot: slot)
        guard !path.hasSuffix(".crt") else {
            return [
                Finding(
                    id: "crt-name", severity: .error, message: "HAProxy cannot replace \(path) while it runs",
                    remedy: "call the file .pem, or name a `fallback` that reloads")
            ]
        }
        do {
            guard let name = try RuntimeSession.find(path, in: list), let memory = try await session.stored(name) else {
                guard let declared = declaration.list else { throw RuntimeSession.notReferenced(path, in: list) }
                _ = try await lists.list(at: declared.path)
                return [
                    Finding(
                        id: "will-be-added", severity: .info,
                        message: "HAProxy has no certificate from \(path) yet; it will be added to \(declared.path)",
                        remedy: "nothing")
                ]
            }
            let store = Store(slot: slot, name: name, memory: memory, list: nil)
            let names = certificate.names.compactMap { if case .dns(let name) = $0 { name } else { nil } }
            let next = KnownLists.Certificate(
                names: names, algorithm: (slot ?? certificate.key.members.first?.algorithm.keyType)?.nameInHAProxy)
            return try await duplicates(of: store, next).map { clash in
                let others = clash.stores.filter { $0 != name.rawValue }.prefix(3).joined(separator: ", ")
                return Finding(
                    id: "duplicate-name", severity: .error,
                    message: "\(others) has the name \(clash.name) too, in the same `bind` as \(name)",
                    remedy: "take one of them out: HAProxy serves the one that was not updated last")
            }
        } catch {
            let failure = CertsError.wrapping(error, subject: path)
            let id =
                switch failure.code {
                case .targetAmbiguous: "two-spellings"
                case .targetBundleTooLarge: "bundle-too-large"
                default: "not-loaded"
                }
            return [Finding(error: failure, id: id)]
        }
    }
}
