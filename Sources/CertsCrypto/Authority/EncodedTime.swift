internal import COpenSSL
import CertsCore
import Foundation

/// `Time` of RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050 on, always `Z`.
enum EncodedTime {
    /// Makes the time and hands it to `store`, which copies it. Fractions of a second are dropped.
    static func set(_ date: Date, _ store: (UnsafePointer<ASN1_TIME>) -> Int32) throws(CertsError) {
        let seconds = date.timeIntervalSince1970.rounded(.down)
        // 1950 is where UTCTime begins, 9999-12-31T23:59:59Z is the last time there is (RFC 5280 §4.1.2.5).
        guard seconds >= -631_152_000, seconds <= 253_402_300_799 else {
            throw CertsError(.certificateRejected, "a certificate cannot have a date outside of the years 1950 to 9999")
        }
        guard let time = ASN1_TIME_set(nil, time_t(seconds)) else { throw .openSSL(.openSSL, "cannot encode a date") }
        defer { ASN1_STRING_free(time) }
        try CertsError.check(store(time), "cannot set a date")
    }

    /// - Returns: `nil` for a time that is not RFC 5280's.
    static func date(_ time: UnsafePointer<ASN1_TIME>?) -> Date? {
        var parts = tm()
        guard let time, ASN1_TIME_to_tm(time, &parts) == 1 else { return nil }
        return Date(timeIntervalSince1970: TimeInterval(timegm(&parts)))
    }
}
