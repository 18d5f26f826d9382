import Foundation

/// Blocking Unix sockets for fakes: the few calls, with errors instead of codes.
package enum UnixSocket {
    static func listen(at path: String) throws -> Int32 {
        unlink(path)
        let descriptor = try open()
        try withAddress(path) { address, length in try check(bind(descriptor, address, length), descriptor) }
        try check(Glibc.listen(descriptor, 64), descriptor)
        return descriptor
    }

    package static func connect(to path: String) throws -> Int32 {
        let descriptor = try open()
        try withAddress(path) { address, length in try check(Glibc.connect(descriptor, address, length), descriptor) }
        return descriptor
    }

    /// The next connection, or -1 once the listener is shut down; a signal in between ends nothing.
    static func accepted(_ listener: Int32) -> Int32 {
        while true {
            let client = accept(listener, nil, nil)
            if client >= 0 || errno != EINTR && errno != ECONNABORTED { return client }
        }
    }

    /// Reads until `isComplete` or the end.
    static func read(_ descriptor: Int32, until isComplete: ([UInt8]) -> Bool = { _ in false }) -> [UInt8] {
        var result: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while !isComplete(result) {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            result += buffer.prefix(count)
        }
        return result
    }

    @discardableResult
    package static func write(_ bytes: some Collection<UInt8>, to descriptor: Int32) -> Bool {
        var rest = Array(bytes)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    /// Returns when both directions are closed: the client of a master CLI closes its own at once.
    static func waitUntilClosed(_ descriptor: Int32) {
        var entry = pollfd(fd: descriptor, events: 0, revents: 0)
        while poll(&entry, 1, -1) < 0 && errno == EINTR {}
    }

    package static func accepts(port: Int) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        address.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }

    private static func open() throws -> Int32 {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        return descriptor
    }

    private static func check(_ result: Int32, _ descriptor: Int32) throws {
        guard result != 0 else { return }
        let code = errno
        close(descriptor)
        throw POSIXError(.init(rawValue: code) ?? .EIO)
    }

    private static func withAddress(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) throws -> Void) throws
    {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        guard path.utf8.count < MemoryLayout.size(ofValue: address.sun_path) else { throw POSIXError(.ENAMETOOLONG) }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        try withUnsafePointer(to: &address) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                try body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }
}
