import CertsCore
import CertsCrypto
import Foundation
import Synchronization

/// The `stats socket` of a HAProxy with one certificate, that misbehaves where a test wants it to.
///
/// It keeps the books as HAProxy 2.6 does (one transaction, without an owner); a script may replace any reply.
package final class FakeHAProxy: Sendable {
    /// What happens after a command was read.
    package enum Behaviour: Sendable {
        /// The reply of the books.
        case normal
        /// Another reply, whole.
        case reply(String)
        /// Nothing, for ever.
        case hang
        /// The end of the connection, without a byte.
        case hangUp
        /// The reply of the books, one byte at a time.
        case byteByByte
        /// The first bytes of the reply of the books, then the end.
        case cut(after: Int)
        /// As many bytes, then the end.
        case flood(Int)
        /// Whatever the socket at this path answers.
        case forward(to: String)
        /// The end of the connection, without a byte, although the socket at this path has carried the command out.
        case deliver(to: String)
    }

    /// What HAProxy holds, by file name.
    package struct Books: Sendable {
        package struct Stored: Sendable, Equatable {
            package var serial = "01"
            package var sha1 = String(repeating: "00", count: 20)

            package init() {}

            init(serial: String, sha1: String) {
                self.serial = serial
                self.sha1 = sha1
            }
        }

        package var memory: [String: Stored]
        package var transaction: (name: String, stored: Stored)?
        /// The lines of the commands that came, without payloads.
        package var commands: [String] = []
    }

    package typealias Script = @Sendable (_ index: Int, _ command: String) -> Behaviour

    package let path: String
    private let listener: Int32
    private let books: Mutex<Books>
    private let script: Script
    private let open = Mutex<[Int32]>([])

    /// - Parameters:
    ///   - path: of the socket; what is there is removed.
    ///   - certificates: the names that it has loaded.
    ///   - script: called with the number and the line of each command, on a thread of the fake.
    package init(at path: String, certificates: [String], script: @escaping Script = { _, _ in .normal }) throws {
        self.path = path
        self.script = script
        books = Mutex(Books(memory: Dictionary(uniqueKeysWithValues: certificates.map { ($0, Books.Stored()) })))
        listener = try UnixSocket.listen(at: path)
        let (descriptor, fake) = (listener, Weak(self))
        Thread.detachNewThread {
            while case let client = UnixSocket.accepted(descriptor), client >= 0 {
                Thread.detachNewThread { fake.value?.serve(client) }
            }
        }
    }

    deinit { stop() }

    /// Closes the socket and every connection.
    package func stop() {
        shutdown(listener, Int32(SHUT_RDWR))
        open.withLock { descriptors in
            for descriptor in descriptors { shutdown(descriptor, Int32(SHUT_RDWR)) }
        }
    }

    package var state: Books {
        get { books.withLock { $0 } }
        set { books.withLock { $0 = newValue } }
    }

    /// Sends raw bytes to a socket and returns the whole reply, as another client would. Blocking.
    ///
    /// - Parameter patience: in seconds; what did not come after so long a silence is not waited for.
    @discardableResult
    package static func ask(_ path: String, _ bytes: some Collection<UInt8>, patience: Int? = nil) throws -> String {
        let descriptor = try UnixSocket.connect(to: path)
        defer { close(descriptor) }
        if let patience {
            var limit = timeval(tv_sec: patience, tv_usec: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
        UnixSocket.write(bytes, to: descriptor)
        return String(decoding: UnixSocket.read(descriptor), as: UTF8.self)
    }

    // MARK: One connection

    private func serve(_ client: Int32) {
        open.withLock { $0.append(client) }
        defer {
            open.withLock { $0.removeAll { $0 == client } }
            close(client)
        }
        let request = UnixSocket.read(client) { bytes in
            guard let end = bytes.firstIndex(of: 10) else { return false }
            return !bytes[..<end].suffix(2).elementsEqual("<<".utf8) || bytes.suffix(2).elementsEqual([10, 10])
        }
        guard let end = request.firstIndex(of: 10) else { return }
        let line = String(decoding: request[..<end], as: UTF8.self)
        let index = books.withLock { books in
            books.commands.append(line)
            return books.commands.count - 1
        }
        let behaviour = script(index, line)
        let reply = { Array(self.reply(to: line, payload: request[(end + 1)...]).utf8) }
        switch behaviour {
        case .normal: UnixSocket.write(reply(), to: client)
        case .reply(let text): UnixSocket.write(text.utf8, to: client)
        case .hang: UnixSocket.waitUntilClosed(client)
        case .hangUp: break
        case .byteByByte: for byte in reply() { UnixSocket.write([byte], to: client) }
        case .cut(let count): UnixSocket.write(reply().prefix(count), to: client)
        case .flood(let count): UnixSocket.write(repeatElement(UInt8(ascii: "x"), count: count), to: client)
        case .deliver(let path): _ = try? Self.ask(path, request)
        case .forward(let path): if let text = try? Self.ask(path, request) { UnixSocket.write(text.utf8, to: client) }
        }
    }

    private func reply(to line: String, payload: ArraySlice<UInt8>) -> String {
        let words = line.split(separator: " ").map(String.init)
        let name = words.count > 3 ? words[3] : ""
        return books.withLock { books in
            switch words.prefix(2).joined(separator: " ") {
            case "show info": return "Name: HAProxy\nVersion: 2.6.12\nPid: 4711\nStopping: 0\n\n"
            case "show ssl": return words.count > 3 ? books.show(name) : books.list
            case "set ssl": return books.set(name, Data(payload))
            case "commit ssl": return books.commit(name)
            case "abort ssl": return books.abort(name)
            default: return "Unknown command: '\(line)'\n\n"
            }
        }
    }

    private struct Weak: Sendable {
        weak let value: FakeHAProxy?
        init(_ value: FakeHAProxy) { self.value = value }
    }
}

extension FakeHAProxy.Books {
    fileprivate var list: String {
        let open = transaction.map { "# transaction\n*\($0.name)\n" } ?? ""
        return open + "# filename\n" + memory.keys.sorted().map { "\($0)\n" }.joined() + "\n"
    }

    fileprivate func show(_ name: String) -> String {
        if let transaction, name == "*\(transaction.name)" { return Self.text(name, "Unused", transaction.stored) }
        guard let stored = memory[name] else {
            return "Can't display the certificate: Not found or the certificate is a bundle!\n\n"
        }
        return Self.text(name, "Used", stored)
    }

    private static func text(_ name: String, _ status: String, _ stored: Stored) -> String {
        "Filename: \(name)\nStatus: \(status)\nSerial: \(stored.serial.uppercased())\nSHA1 FingerPrint: \(stored.sha1.uppercased())\n\n"
    }

    fileprivate mutating func set(_ name: String, _ payload: Data) -> String {
        guard memory[name] != nil else {
            return
                "Can't replace a certificate which is not referenced by the configuration!\nCan't update \(name)!\n\n"
        }
        guard let record = try? CertificateReader.firstRecord(in: payload) else {
            return "unable to load certificate from file '\(name)'.\nCan't load the payload\nCan't update \(name)!\n\n"
        }
        let stored = Stored(serial: record.serial, sha1: record.sha1)
        if let open = transaction {
            transaction = (open.name, stored)
            return "Transaction updated for certificate \(open.name)!\n\n"
        }
        transaction = (name, stored)
        return "Transaction created for certificate \(name)!\n\n"
    }

    fileprivate mutating func commit(_ name: String) -> String {
        guard let open = transaction else { return "No ongoing transaction! !\nCan't commit \(name)!\n\n" }
        guard open.name == name else {
            return
                "The ongoing transaction is about '\(open.name)' but you are trying to set '\(name)'\nCan't commit \(name)!\n\n"
        }
        memory[name] = open.stored
        transaction = nil
        return "Committing \(name).\nSuccess!\n\n"
    }

    fileprivate mutating func abort(_ name: String) -> String {
        guard let open = transaction else { return "No ongoing transaction!\n\n" }
        guard open.name == name else {
            return
                "The ongoing transaction is about '\(open.name)' but you are trying to abort a transaction for '\(name)'\n\n"
        }
        transaction = nil
        return "Transaction aborted for certificate '\(name)'!\n\n"
    }
}
