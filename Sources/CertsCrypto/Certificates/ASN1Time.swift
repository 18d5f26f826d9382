internal import COpenSSL

/// Times of certificates and CRLs (RFC 5280 §4.1.2.5), as seconds since 1970.
enum ASN1Time {
    /// How a time is written.
    struct Reading {
        let seconds: Int64
        /// Whether it is written exactly as RFC 5280 demands: with seconds, in UTC, UTCTime until 2049 and
        /// GeneralizedTime from 2050.
        let isStrict: Bool
    }

    /// - Returns: `nil` if it is no date at all.
    static func read(_ time: UnsafePointer<asn1_string_st>?) -> Reading? {
        guard let time else { return nil }
        let digits = ASN1.bytes(time)
        if time.pointee.type == V_ASN1_UTCTIME, digits.count == 13, let value = seconds(digits, yearDigits: 2) {
            return Reading(seconds: value, isStrict: true)
        }
        if time.pointee.type == V_ASN1_GENERALIZEDTIME, digits.count == 15, let value = seconds(digits, yearDigits: 4) {
            return Reading(seconds: value, isStrict: value >= 2_524_608_000)  // 2050-01-01
        }
        // Offsets, fractions and missing seconds, which old CAs wrote.
        var broken = tm()
        guard ASN1_TIME_to_tm(time, &broken) == 1 else {
            OpenSSLErrors.clear()
            return nil
        }
        let day = days(year: Int64(broken.tm_year) + 1900, month: Int64(broken.tm_mon) + 1, day: Int64(broken.tm_mday))
        let clock = Int64(broken.tm_hour) * 3600 + Int64(broken.tm_min) * 60 + Int64(broken.tm_sec)
        return Reading(seconds: day * 86_400 + clock, isStrict: false)
    }

    /// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`; own arithmetic, because `ASN1_TIME_to_tm` with `timegm` costs as much as
    /// all the rest of a record.
    private static func seconds(_ digits: UnsafeBufferPointer<UInt8>, yearDigits: Int) -> Int64? {
        guard digits[digits.count - 1] == UInt8(ascii: "Z") else { return nil }
        var fields: (Int64, Int64, Int64, Int64, Int64, Int64) = (0, 0, 0, 0, 0, 0)
        var isValid = true
        func two(_ at: Int) -> Int64 {
            let high = digits[at] &- UInt8(ascii: "0")
            let low = digits[at + 1] &- UInt8(ascii: "0")
            if high > 9 || low > 9 { isValid = false }
            return Int64(high) * 10 + Int64(low)
        }
        if yearDigits == 4 {
            fields.0 = two(0) * 100 + two(2)
        } else {
            let year = two(0)
            fields.0 = year + (year >= 50 ? 1900 : 2000)
        }
        fields.1 = two(yearDigits)
        fields.2 = two(yearDigits + 2)
        fields.3 = two(yearDigits + 4)
        fields.4 = two(yearDigits + 6)
        fields.5 = two(yearDigits + 8)
        guard isValid, (1...12).contains(fields.1), fields.2 >= 1, fields.2 <= length(ofMonth: fields.1, fields.0),
            fields.3 < 24, fields.4 < 60, fields.5 < 60
        else { return nil }
        return days(year: fields.0, month: fields.1, day: fields.2) * 86_400 + fields.3 * 3600 + fields.4 * 60
            + fields.5
    }

    private static func length(ofMonth month: Int64, _ year: Int64) -> Int64 {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    /// Days from 1970-01-01 in the proleptic Gregorian calendar, with years that begin in March.
    private static func days(year: Int64, month: Int64, day: Int64) -> Int64 {
        let shifted = month <= 2 ? year - 1 : year
        let era = (shifted >= 0 ? shifted : shifted - 399) / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }
}
