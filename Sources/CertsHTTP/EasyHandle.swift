internal import CCurl
import CertsCore
import Foundation

/// A `CURL *` with what it points to, owned by one request.
final class EasyHandle {
    private let pointer: UnsafeMutableRawPointer
    private var headerList: UnsafeMutablePointer<curl_slist>?
    private var connectList: UnsafeMutablePointer<curl_slist>?
    private var recipientList: UnsafeMutablePointer<curl_slist>?
    /// libcurl keeps a pointer to it from `setBody` until it is freed.
    private var bodyBytes: UnsafeMutableRawBufferPointer?
    /// libcurl keeps a pointer to it from `setBodyOnce` until it is reset or freed.
    private var bodySource: BodySource?
    /// libcurl writes the reason of a failure into it.
    private let errorText: UnsafeMutablePointer<CChar>

    init() throws(CertsError) {
        guard let handle = curl_easy_init() else {
            throw CertsError(.http, "libcurl cannot make a handle", hint: "free memory", retry: .later)
        }
        pointer = handle
        let size = certs_curl_error_size()
        errorText = .allocate(capacity: size)
        errorText.initialize(repeating: 0, count: size)
        try check(certs_curl_setopt_pointer(pointer, CURLOPT_ERRORBUFFER, errorText), CURLOPT_ERRORBUFFER)
    }

    /// Makes the handle ready for another request: every option is back at its default, open connections stay.
    func reset() throws(CertsError) {
        curl_easy_reset(pointer)
        curl_slist_free_all(headerList)
        headerList = nil
        curl_slist_free_all(connectList)
        connectList = nil
        curl_slist_free_all(recipientList)
        recipientList = nil
        releaseBody()
        errorText.initialize(repeating: 0, count: certs_curl_error_size())
        try check(certs_curl_setopt_pointer(pointer, CURLOPT_ERRORBUFFER, errorText), CURLOPT_ERRORBUFFER)
    }

    deinit {
        // The handle first: it refers to the rest.
        curl_easy_cleanup(pointer)
        curl_slist_free_all(headerList)
        curl_slist_free_all(connectList)
        curl_slist_free_all(recipientList)
        releaseBody()
        errorText.deallocate()
    }

    private func releaseBody() {
        // A body may be a secret.
        if let bodyBytes, let base = bodyBytes.baseAddress { explicit_bzero(base, bodyBytes.count) }
        bodyBytes?.deallocate()
        bodyBytes = nil
        bodySource = nil
    }

    func set(_ option: CURLoption, _ value: Int) throws(CertsError) {
        try check(certs_curl_setopt_long(pointer, option, value), option)
    }

    /// `nil` sets the option back to nothing.
    func set(_ option: CURLoption, _ value: String?) throws(CertsError) {
        try check(certs_curl_setopt_text(pointer, option, value), option)
    }

    /// The same, handed out once: libcurl repeats a request by itself when a connection that was kept open turns out to be
    /// dead, and what is signed must not be sent twice as it is.
    func setBodyOnce(_ body: Data) throws(CertsError) {
        try check(
            certs_curl_setopt_off(pointer, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(body.count)),
            CURLOPT_POSTFIELDSIZE_LARGE)
        try setSource(body)
    }

    /// A mail, read once.
    func setUpload(_ message: Data) throws(CertsError) {
        try set(CURLOPT_UPLOAD, 1)
        try check(
            certs_curl_setopt_off(pointer, CURLOPT_INFILESIZE_LARGE, curl_off_t(message.count)),
            CURLOPT_INFILESIZE_LARGE)
        try setSource(message)
    }

    private func setSource(_ body: Data) throws(CertsError) {
        let source = BodySource(body)
        bodySource = source
        let data = Unmanaged.passUnretained(source).toOpaque()
        try check(certs_curl_setopt_pointer(pointer, CURLOPT_READDATA, data), CURLOPT_READDATA)
        try check(
            certs_curl_setopt_write(pointer, CURLOPT_READFUNCTION) { bytes, size, count, source in
                guard let bytes, let source else { return 0 }
                let space = UnsafeMutableRawBufferPointer(start: bytes, count: size &* count)
                return Unmanaged<BodySource>.fromOpaque(source).takeUnretainedValue().read(into: space)
            }, CURLOPT_READFUNCTION)
    }

    func setBody(_ body: Data) throws(CertsError) {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, body.count), alignment: 1)
        body.withUnsafeBytes { copy.copyMemory(from: $0) }
        bodyBytes?.deallocate()
        bodyBytes = copy
        try check(
            certs_curl_setopt_off(pointer, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(body.count)),
            CURLOPT_POSTFIELDSIZE_LARGE)
        try check(certs_curl_setopt_pointer(pointer, CURLOPT_POSTFIELDS, copy.baseAddress), CURLOPT_POSTFIELDS)
    }

    /// Fields whose value is empty are not sent at all, also where libcurl would add them itself.
    func setHeaders(_ headers: [(name: String, value: String)]) throws(CertsError) {
        for header in headers {
            guard
                let longer = curl_slist_append(
                    headerList, "\(header.name):\(header.value.isEmpty ? "" : " ")\(header.value)")
            else {
                throw CertsError(.http, "out of memory for header fields", hint: "free memory", retry: .later)
            }
            headerList = longer
        }
        try check(certs_curl_setopt_list(pointer, CURLOPT_HTTPHEADER, headerList), CURLOPT_HTTPHEADER)
    }

    /// The envelope's recipients of a mail; once for each handle.
    func setRecipients(_ recipients: [String]) throws(CertsError) {
        for recipient in recipients {
            guard let longer = curl_slist_append(recipientList, recipient) else {
                throw CertsError(.http, "out of memory for recipients", hint: "free memory", retry: .later)
            }
            recipientList = longer
        }
        try check(certs_curl_setopt_list(pointer, CURLOPT_MAIL_RCPT, recipientList), CURLOPT_MAIL_RCPT)
    }

    /// Whatever the URL says, connects to `host` and `port`; once for each handle.
    func setConnectTo(host: String, port: Int) throws(CertsError) {
        // Two empty fields stand for any host and any port of the URL.
        guard let list = curl_slist_append(connectList, "::\(host.contains(":") ? "[\(host)]" : host):\(port)") else {
            throw CertsError(.http, "out of memory for an address", hint: "free memory", retry: .later)
        }
        connectList = list
        try check(certs_curl_setopt_list(pointer, CURLOPT_CONNECT_TO, connectList), CURLOPT_CONNECT_TO)
    }

    /// Carries out the request; blocks until it is done. `received` gets the bytes.
    func perform(_ received: ReceivedBytes) -> CURLcode {
        // Retained by the caller for the whole call, so an unretained pointer is enough.
        let sink = Unmanaged.passUnretained(received).toOpaque()
        let steps = [
            certs_curl_setopt_pointer(pointer, CURLOPT_WRITEDATA, sink),
            certs_curl_setopt_pointer(pointer, CURLOPT_HEADERDATA, sink),
            certs_curl_setopt_write(pointer, CURLOPT_WRITEFUNCTION) { bytes, size, count, sink in
                guard let bytes, let sink else { return 0 }
                let received = Unmanaged<ReceivedBytes>.fromOpaque(sink).takeUnretainedValue()
                return received.appendBody(UnsafeRawBufferPointer(start: bytes, count: size &* count))
            },
            certs_curl_setopt_write(pointer, CURLOPT_HEADERFUNCTION) { bytes, size, count, sink in
                guard let bytes, let sink else { return 0 }
                let received = Unmanaged<ReceivedBytes>.fromOpaque(sink).takeUnretainedValue()
                return received.appendHeader(UnsafeRawBufferPointer(start: bytes, count: size &* count))
            },
        ]
        if let failed = steps.first(where: { $0 != CURLE_OK }) { return failed }
        return withExtendedLifetime(received) { curl_easy_perform(pointer) }
    }

    var status: Int {
        var value = 0
        return certs_curl_getinfo_long(pointer, CURLINFO_RESPONSE_CODE, &value) == CURLE_OK ? value : 0
    }

    /// The reason that libcurl gave for `code`, or the name of the code.
    func reason(_ code: CURLcode) -> String {
        let own = String(cString: errorText)
        return own.isEmpty ? String(cString: curl_easy_strerror(code)) : own
    }

    private func check(_ code: CURLcode, _ option: CURLoption) throws(CertsError) {
        guard code != CURLE_OK else { return }
        throw CertsError(
            .http, "libcurl refuses option \(option.rawValue): \(String(cString: curl_easy_strerror(code)))",
            hint: "use libcurl 7.85 or newer")
    }
}

/// A body that is read once, from its begin to its end.
private final class BodySource {
    private var rest: Data

    init(_ body: Data) { rest = body }

    func read(into space: UnsafeMutableRawBufferPointer) -> Int {
        let part = rest.prefix(space.count)
        part.copyBytes(to: space)
        rest = rest.dropFirst(part.count)
        return part.count
    }
}

/// Collects a response and stops it at its limits.
final class ReceivedBytes {
    private let limits: HTTPRequest.Limits
    private(set) var body = Data()
    private(set) var headers = HTTPHeaders()
    private var headerBytes = 0
    /// Which limit was passed, if any.
    private(set) var excess: (what: String, bytes: Int)?

    init(limits: HTTPRequest.Limits) { self.limits = limits }

    /// - Returns: how many bytes were taken; less than all of them makes libcurl end the request.
    func appendBody(_ bytes: UnsafeRawBufferPointer) -> Int {
        guard body.count + bytes.count <= limits.body else {
            excess = ("body", limits.body)
            return 0
        }
        body.append(contentsOf: bytes)
        return bytes.count
    }

    func appendHeader(_ bytes: UnsafeRawBufferPointer) -> Int {
        headerBytes += bytes.count
        guard headerBytes <= limits.header else {
            excess = ("header", limits.header)
            return 0
        }
        // ISO 8859-1 cannot fail; a header field from outside may hold any byte.
        let line = String(bytes.map { Character(Unicode.Scalar($0)) }).trimmingCharacters(in: .newlines)
        // A status line begins a new response: what a "100 Continue" brought is not the answer.
        if line.hasPrefix("HTTP/") { headers.removeAll() } else { headers.append(line: line) }
        return bytes.count
    }
}
