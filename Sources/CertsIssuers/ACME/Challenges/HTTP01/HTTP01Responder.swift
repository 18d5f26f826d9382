import CertsCore
import CertsCrypto
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix

/// The listener of `http-01` (RFC 8555 §8.3): it knows one path and answers one request on each connection.
///
/// Everything that it takes is bounded: the bytes of a request, the time of an exchange, the connections at a time. When
/// those are too many, the oldest makes room for the newest, so that silent clients keep no CA out.
final class HTTP01Responder: StoppableListener {
    struct Limits: Sendable {
        var connections = 256
        var requestBytes = 8 << 10
        /// From the accepted connection to the end of the answer.
        var exchange = Duration.seconds(5)
    }

    private let channel: EventLoopFuture<any Channel>

    /// It listens when this returns.
    /// - Throws: `listen.inUse`, `listen.failed`.
    init(
        _ address: CertsCore.SocketAddress, limits: Limits = Limits(), _ proofs: ShownProofs<String>
    ) throws(CertsError) {
        // One loop for the listener and all its connections, so that their number needs no lock.
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let connections = NIOLoopBoundBox.makeBoxSendingValue(
            OpenConnections(limit: limits.connections), eventLoop: loop)
        let descriptor = try ListeningSocket(address).duplicate()
        channel = ServerBootstrap(group: loop)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    connections.value.admit(channel)
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandler(RequestBounds(limits))
                    try pipeline.configureHTTPServerPipeline(withPipeliningAssistance: false)
                    try pipeline.addHandler(ChallengeExchange(proofs))
                    channel.closeFuture.assumeIsolated().whenComplete { _ in connections.value.remove(channel) }
                }
            }
            // An answer is one small packet, and the last one.
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .withBoundSocket(descriptor)
    }

    deinit { channel.whenSuccess { $0.close(promise: nil) } }

    func stop() async {
        // A listener that is closed already is what was wanted.
        try? await channel.flatMap { $0.close() }.get()
    }
}

/// The connections of one listener, oldest first.
private final class OpenConnections {
    private let limit: Int
    private var channels: [any Channel] = []

    init(limit: Int) { self.limit = limit }

    func admit(_ channel: any Channel) {
        if channels.count >= limit { channels.removeFirst().close(promise: nil) }
        channels.append(channel)
    }

    func remove(_ channel: any Channel) { channels.removeAll { $0 === channel } }
}

/// Ends a connection that sends too much or takes too long.
private final class RequestBounds: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let limits: HTTP01Responder.Limits
    private var received = 0
    private var closing: Scheduled<Void>?

    init(_ limits: HTTP01Responder.Limits) { self.limits = limits }

    func handlerAdded(context: ChannelHandlerContext) {
        closing = context.eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(limits.exchange)) {
            context.close(promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        closing?.cancel()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        received += unwrapInboundIn(data).readableBytes
        if received > limits.requestBytes { context.close(promise: nil) } else { context.fireChannelRead(data) }
    }
}

/// Answers the first request of a connection and ends it.
private final class ChallengeExchange: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let proofs: ShownProofs<String>
    private var hasBegun = false

    init(_ proofs: ShownProofs<String>) { self.proofs = proofs }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // The end of the header is enough; nobody sends a body with a question.
        guard case .head(let head) = unwrapInboundIn(data), !hasBegun else { return }
        hasBegun = true
        guard head.method == .GET || head.method == .HEAD else {
            return answer(.methodNotAllowed, nil, to: head, context)
        }
        guard let token = ChallengeToken.requested(by: head.uri) else {
            return answer(.notFound, nil, to: head, context)
        }
        if let own = proofs.here(token) { return answer(.ok, own, to: head, context) }
        let elsewhere = proofs.elsewhere
        let bound = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
        context.eventLoop.makeFutureWithTask { await elsewhere(token) }.whenComplete { result in
            let (handler, context) = bound.value
            guard context.channel.isActive else { return }
            let found = (try? result.get()) ?? nil
            handler.answer(found == nil ? .notFound : .ok, found, to: head, context)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func answer(
        _ status: HTTPResponseStatus, _ proof: String?, to head: HTTPRequestHead, _ context: ChannelHandlerContext
    ) {
        let body = context.channel.allocator.buffer(
            string: proof ?? (status == .notFound ? "no challenge is shown here\n" : "only GET\n"))
        var response = HTTPResponseHead(version: .http1_1, status: status)
        response.headers = [
            "Content-Type": proof == nil ? "text/plain" : "application/octet-stream",
            "Content-Length": String(body.readableBytes), "Cache-Control": "no-store", "Connection": "close",
        ]
        context.write(wrapOutboundOut(.head(response)), promise: nil)
        if head.method != .HEAD { context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil) }
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete { _ in bound.value.close(promise: nil) }
    }
}
