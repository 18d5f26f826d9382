import CertsCore
import Foundation
import NIOCore
import NIOPosix

/// HAProxy's `stats socket`, or its master CLI: one command per connection, the reply is what comes until HAProxy
/// closes it.
struct RuntimeConnection: Sendable {
    let socket: String
    /// For one command: connect, write, the whole reply.
    var deadline: Duration = .seconds(10)
    /// In bytes. A list of 10,000 certificates has about 400 KB.
    var replyLimit = 4 << 20
    var peer = Peer.stats

    /// What listens at the socket.
    enum Peer: Sendable {
        case stats
        /// It waits for more commands after each reply, until our side of the connection is closed.
        case master
    }

    /// Sends one command and returns the reply as it came. Suspends, never blocks a thread; not cancellable, because a
    /// command that was sent has an effect: the deadline bounds it.
    ///
    /// HAProxy's certificates have one lock, and whoever meets it taken is sent away at once, also by somebody who only
    /// looks: then nothing was done, and it is asked again.
    /// - Throws: `target.unreachable`, `target.timeout`, `target.unexpectedReply`, each with the path of the socket.
    func send(_ command: RuntimeCommand) async throws(CertsError) -> String {
        let loop =
            MultiThreadedEventLoopGroup.currentEventLoop ?? MultiThreadedEventLoopGroup.singleton.next()
        let end = ContinuousClock.now + deadline
        do {
            while true {
                // One way to the loop and one back: each change of threads takes as long as a short answer of HAProxy's.
                let bytes = try await loop.flatSubmit { converse(command, on: loop) }.get()
                let reply = String(decoding: bytes.readableBytesView, as: UTF8.self)
                guard RuntimeReply.isLocked(reply), ContinuousClock.now < end else { return reply }
                try await loop.scheduleTask(in: Self.pause) {}.futureResult.get()
            }
        } catch {
            throw explain(error)
        }
    }

    /// A look takes HAProxy less than a millisecond, a commit for 1,000 binds a tenth of a second.
    private static let pause = TimeAmount.milliseconds(5)

    /// The whole conversation; called on `loop`.
    private func converse(_ command: RuntimeCommand, on loop: any EventLoop) -> EventLoopFuture<ByteBuffer> {
        let reply = loop.makePromise(of: ByteBuffer.self)
        let limit = TimeAmount(deadline)
        let timer = loop.scheduleTask(in: limit) { reply.fail(Failure.deadline) }
        let replyLimit = replyLimit
        let bootstrap = ClientBootstrap(group: loop).connectTimeout(limit).channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(
                    Conversation(command: Self.bytes(of: command), reply: reply, limit: replyLimit, peer: peer))
            }
        }
        bootstrap.connect(unixDomainSocketPath: socket).whenComplete { result in
            switch result {
            // Also when the deadline was first.
            case .success(let channel): reply.futureResult.whenComplete { _ in channel.close(promise: nil) }
            case .failure(let error): reply.fail(error)
            }
        }
        reply.futureResult.whenComplete { _ in timer.cancel() }
        return reply.futureResult
    }

    private static func bytes(of command: RuntimeCommand) -> ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: command.size)
        buffer.writeString(command.line)
        buffer.writeString("\n")
        if let payload = command.payload {
            payload.withBytes { _ = buffer.writeBytes($0) }
            buffer.writeString("\n")
        }
        return buffer
    }

    fileprivate enum Failure: Error {
        case deadline, tooLong
    }

    // MARK: Errors

    private func explain(_ error: any Error) -> CertsError {
        switch error {
        case Failure.deadline, ChannelError.connectTimeout:
            return CertsError(
                .targetTimeout, "HAProxy did not answer at \(socket) within \(deadline)", subject: socket,
                hint: "look at HAProxy's load and log, and whether another client holds the socket", retry: .later)
        case Failure.tooLong:
            return CertsError(
                .targetUnexpectedReply, "the reply at \(socket) is longer than \(replyLimit) bytes", subject: socket,
                hint: "check that this is the \(peerName) of HAProxy")
        case SocketAddressError.unixDomainSocketPathTooLong:
            return CertsError(
                .configurationInvalid, "the path of the socket \(socket) is longer than 107 bytes", subject: socket,
                hint: "give HAProxy's \(peerName) a shorter path")
        case let error as IOError: return explain(errno: error.errnoCode, error)
        default:
            return CertsError(
                .targetUnreachable, "cannot talk to HAProxy at \(socket)", subject: socket, cause: error, retry: .later)
        }
    }

    func explain(errno code: CInt, _ error: any Error) -> CertsError {
        switch code {
        case ENOENT, ENOTDIR:
            CertsError(
                .targetUnreachable, "there is no socket at \(socket)", subject: socket,
                hint: peer == .master
                    ? "start HAProxy with `-W -S \(socket),mode,600`"
                    : "start HAProxy, with `stats socket \(socket) mode 660 level admin` in its `global` section",
                retry: .later)
        case ECONNREFUSED:
            CertsError(
                .targetUnreachable, "nobody listens at the socket \(socket)", subject: socket,
                hint: "start HAProxy; the file is left over from a process that ended", retry: .later)
        case EACCES, EPERM:
            CertsError(
                .targetUnreachable, "permission denied at the socket \(socket)", subject: socket, hint: permissionHint)
        case EAGAIN:
            CertsError(
                .targetTimeout, "HAProxy does not accept connections at \(socket): its queue is full", subject: socket,
                hint: "look at HAProxy's load and log", retry: .later)
        default:
            CertsError(
                .targetUnreachable, "cannot talk to HAProxy at \(socket)", subject: socket, cause: error, retry: .later)
        }
    }

    private var peerName: String { peer == .master ? "master socket (`-S`)" : "`stats socket`" }

    private var permissionHint: String {
        var status = stat()
        guard stat(socket, &status) == 0 else {
            return "let the user that runs certs enter the directory of the socket: add it to the directory's group"
        }
        var buffer = [CChar](repeating: 0, count: 4096)
        var entry = group()
        var found: UnsafeMutablePointer<group>?
        let known = getgrgid_r(status.st_gid, &entry, &buffer, buffer.count, &found) == 0 && found != nil
        let name = known ? String(cString: entry.gr_name) : String(status.st_gid)
        return "add the user that runs certs to the group '\(name)', and give the \(peerName) the mode 660"
    }
}

/// One command and its reply. All of it runs on the event loop: a deadline must not pass because other work of the
/// process delays a task.
private final class Conversation: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let command: ByteBuffer
    private let reply: EventLoopPromise<ByteBuffer>
    private let limit: Int
    private let peer: RuntimeConnection.Peer
    private var received = ByteBuffer()
    private var failure: (any Error)?

    init(
        command: ByteBuffer, reply: EventLoopPromise<ByteBuffer>, limit: Int, peer: RuntimeConnection.Peer
    ) {
        self.command = command
        self.reply = reply
        self.limit = limit
        self.peer = peer
    }

    func channelActive(context: ChannelHandlerContext) {
        // The outcome is not waited for: HAProxy may refuse before it has read everything, and its reply is what counts.
        context.writeAndFlush(wrapOutboundOut(command), promise: nil)
        // A command of the master CLI is short, and written by now.
        if peer == .master { context.close(mode: .output, promise: nil) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var part = unwrapInboundIn(data)
        guard received.readableBytes + part.readableBytes <= limit else {
            reply.fail(RuntimeConnection.Failure.tooLong)
            return context.close(promise: nil)
        }
        received.writeBuffer(&part)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        failure = error
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        // HAProxy may reset the connection right after its reply, while we still write: what it said comes first.
        if received.readableBytes == 0, let failure { reply.fail(failure) } else { reply.succeed(received) }
    }
}

extension TimeAmount {
    /// Saturates instead of trapping: durations come from the configuration.
    init(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        let (sum, carry) = whole.addingReportingOverflow(attoseconds / 1_000_000_000)
        self = .nanoseconds(overflow || carry ? .max / 4 : max(0, sum))
    }
}
