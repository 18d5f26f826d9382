package import CertsCore
package import CertsHTTP
import Foundation

/// What went wrong between us and a Docker Engine, with the next step.
package enum DockerFailure {
    /// No answer came.
    ///
    /// - Parameter deadline: the one that passed; `nil`: it failed before.
    static func noAnswer(_ error: CertsError, socket: String, deadline: Duration?) -> CertsError {
        // libcurl tells only that it could not connect; the kernel tells us why.
        if let code = connectCode(socket) { return cannotConnect(code, socket: socket) }
        guard let deadline else {
            return CertsError(
                .targetUnreachable, "the Docker Engine at \(socket): \(error.message)", subject: socket,
                hint: "look at its log (`journalctl -u docker`)", retry: .later)
        }
        return CertsError(
            .targetTimeout, "the Docker Engine at \(socket) did not answer within \(deadline)", subject: socket,
            hint: "look whether it hangs: `curl -m 5 --unix-socket \(socket) http://docker/_ping`", retry: .later)
    }

    /// - Parameter code: of `connect(2)`.
    package static func cannotConnect(_ code: Int32, socket: String) -> CertsError {
        switch code {
        case ENOENT, ENOTDIR:
            CertsError(
                .targetUnreachable, "there is no socket of a Docker Engine at \(socket)", subject: socket,
                hint: "start Docker (`systemctl start docker`), or name the socket that its engine listens on",
                retry: .later)
        case EACCES, EPERM:
            CertsError(
                .targetRefused, "this user may not use the socket of the Docker Engine, \(socket)", subject: socket,
                hint:
                    "add the user of certs to the group of the socket (it is then as good as root on this host); a reload "
                    + "of HAProxy needs no Docker where its runtime socket is shared (`method: runtime`)")
        case ECONNREFUSED:
            CertsError(
                .targetUnreachable, "no Docker Engine listens on \(socket)", subject: socket,
                hint: "start Docker: `systemctl start docker`", retry: .later)
        default:
            CertsError(
                .targetUnreachable, "cannot connect to \(socket): \(String(cString: strerror(code)))", subject: socket,
                hint: "check that this is the socket of a Docker Engine", retry: .later)
        }
    }

    /// An answer with a status that is not a success.
    package static func refusal(_ response: HTTPResponse, socket: String) -> CertsError {
        let words = message(in: response.body)
        // HTTP 500 in Docker 20.10, 400 later.
        if words.lowercased().contains("multiple ids found") {
            return CertsError(
                .targetAmbiguous, "several containers match: \(words)", subject: socket,
                hint: "give the name of the container, or more of its id")
        }
        let shown = "the Docker Engine says: \(words) (HTTP \(response.status))"
        return switch response.status {
        case 404:
            CertsError(
                .targetUnreachable, shown, subject: socket,
                hint: "`docker ps --all` lists the containers", retry: .later)
        case 409:
            CertsError(
                .targetRefused, shown, subject: socket, hint: "start the container, or unpause it", retry: .later)
        case 401, 403:
            CertsError(.targetRefused, shown, subject: socket, hint: "ask whoever set up the engine's authorization")
        case 400..<500:
            CertsError(.targetRefused, shown, subject: socket, hint: "check the container in the configuration")
        default:
            CertsError(
                .targetUnexpectedReply, shown, subject: socket,
                hint: "look at the engine's log (`journalctl -u docker`)", retry: .later)
        }
    }

    private struct Message: Decodable { let message: String }

    private static func message(in body: Data) -> String {
        let text =
            (try? JSONDecoder().decode(Message.self, from: body))?.message
            ?? String(decoding: body.prefix(500), as: UTF8.self)
        let words = TerminalText.sanitized(text.trimmingCharacters(in: .whitespacesAndNewlines), limit: 500)
        return words.isEmpty ? "nothing" : words
    }

    /// The code with which a connection fails; `nil`: it does not.
    private static func connectCode(_ path: String) -> Int32? {
        let descriptor = Glibc.socket(
            AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { return errno }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        guard path.utf8.count < MemoryLayout.size(ofValue: address.sun_path) else { return ENAMETOOLONG }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        // A full queue is no reason why libcurl, which waits, could not connect.
        return result == 0 || errno == EAGAIN ? nil : errno
    }
}
