import NIOCore

/// Closes the connections of clients that take too long: to ask, to take their answer, or to ask again.
///
/// An idle timeout alone is not enough: a client that sends or reads one byte now and then is never idle, and a few
/// hundred of those would keep Prometheus out.
///
/// It sits behind the HTTP decoder, so something is read only once a header is complete. It does not look at the parts
/// of a message: an exchange is over when all that was written has been taken by the client, and goes on, with the same
/// deadline, when more is written before something is asked again (a long answer is written piece by piece).
final class ConnectionDeadlines: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = NIOAny
    typealias InboundOut = NIOAny
    typealias OutboundIn = NIOAny
    typealias OutboundOut = NIOAny

    private let limits: WebServer.Limits
    private var isInExchange = false
    private var exchangeEnd: NIODeadline?
    private var pendingWrites = 0
    private var closing: Scheduled<Void>?

    init(_ limits: WebServer.Limits) { self.limits = limits }

    func handlerAdded(context: ChannelHandlerContext) { schedule(limits.firstRequest, context) }

    func handlerRemoved(context: ChannelHandlerContext) { closing?.cancel() }

    func channelInactive(context: ChannelHandlerContext) {
        closing?.cancel()
        closing = nil
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // Not once more for each part of a body: a body without end has one deadline as well.
        if !isInExchange {
            isInExchange = true
            exchangeEnd = schedule(limits.exchange, context)
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let written = promise ?? context.eventLoop.makePromise(of: Void.self)
        pendingWrites += 1
        if !isInExchange, let exchangeEnd {
            isInExchange = true
            schedule(until: exchangeEnd, context)
        }
        let bound = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
        written.futureResult.whenComplete { _ in
            let (handler, context) = bound.value
            handler.pendingWrites -= 1
            guard handler.pendingWrites == 0, handler.closing != nil, context.channel.isActive else { return }
            handler.isInExchange = false
            handler.schedule(handler.limits.keepAlive, context)
        }
        context.write(data, promise: written)
    }

    @discardableResult
    private func schedule(_ time: Duration, _ context: ChannelHandlerContext) -> NIODeadline {
        let end = context.eventLoop.now + TimeAmount(time)
        schedule(until: end, context)
        return end
    }

    private func schedule(until end: NIODeadline, _ context: ChannelHandlerContext) {
        closing?.cancel()
        closing = context.eventLoop.assumeIsolated().scheduleTask(deadline: end) { context.close(promise: nil) }
    }
}
