internal import COpenSSL
import CertsCore

/// The error queue of OpenSSL. It is per thread: clear, call and drain belong into one synchronous block, with no
/// `await` between.
enum OpenSSLErrors {
    /// Empties the queue, so that a later ``drain()`` speaks of the next call alone.
    static func clear() { ERR_clear_error() }

    /// The queued reasons, oldest first, and an empty queue.
    static func drain() -> String {
        var reasons: [String] = []
        while case let code = ERR_get_error(), code != 0, reasons.count < 16 {
            var buffer = [CChar](repeating: 0, count: 256)
            ERR_error_string_n(code, &buffer, buffer.count)
            let text = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            // `error:0A000086:SSL routines::certificate verify failed`: the reason is what a person can use.
            reasons.append(
                text.split(separator: ":", maxSplits: 4, omittingEmptySubsequences: false).last.map(String.init) ?? text
            )
        }
        ERR_clear_error()
        return reasons.isEmpty ? "no reason given by OpenSSL" : reasons.joined(separator: "; ")
    }
}

extension CertsError {
    /// A failure of OpenSSL, with the reasons from the error queue (which is drained) in the message.
    static func openSSL(
        _ code: Code, _ what: String, hint: String? = nil, fileID: String = #fileID, line: Int = #line
    ) -> CertsError {
        CertsError(code, "\(what): \(OpenSSLErrors.drain())", hint: hint, fileID: fileID, line: line)
    }
}
