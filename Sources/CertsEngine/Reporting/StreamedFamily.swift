import CertsCore

/// The families that have samples for each certificate, in the order of the exposition.
///
/// They are written side by side while the inventory is read once: no series is kept.
enum StreamedFamily: Int, CaseIterable {
    case expiryDays, notAfter, notBefore, chainNotAfter, renewalDue, info, fingerprint
    case servedMatch, servedNotAfter, servedLastCheck, chainValid, ocspStatus, ocspNextUpdate
    case renewalAttempts, renewalFailures, renewalConsecutive, renewalLastSuccess
    case renewalHint, renewalHintInfo, renewalHintFailures
    case deployAttempts, deployFailures, rollbacks, rollbackFailures

    /// A digest cannot be compressed: it alone would be as much as all the rest.
    var isOnRequest: Bool { self == .fingerprint }

    var head: MetricFamily {
        switch self {
        case .expiryDays:
            gauge(
                "ssl_cert_expiry_days",
                "Days until the certificate that the instance should serve expires; negative once expired.")
        case .notAfter: gauge("ssl_cert_not_after_timestamp_seconds", "End of the validity of the certificate.")
        case .notBefore: gauge("ssl_cert_not_before_timestamp_seconds", "Begin of the validity of the certificate.")
        case .chainNotAfter:
            gauge(
                "ssl_cert_chain_not_after_timestamp_seconds",
                "The earliest end among the certificate and those that come with it.")
        case .renewalDue:
            gauge("ssl_cert_renewal_due_timestamp_seconds", "When the planner renews the certificate.")
        case .info:
            MetricFamily("ssl_cert_info", .info, help: "Facts that change with each renewal; always 1.")
        case .fingerprint:
            MetricFamily(
                "ssl_cert_fingerprint_info", .info,
                help: "The SHA-256 of the certificate; always 1. Only for who asks for this family.")
        case .servedMatch:
            gauge(
                "ssl_cert_served_match",
                "1 if the instance was last seen serving the certificate that it should; absent while not known.")
        case .servedNotAfter:
            gauge(
                "ssl_cert_served_not_after_timestamp_seconds",
                "End of the validity of the certificate that the instance was last seen serving.")
        case .servedLastCheck:
            gauge("ssl_cert_served_last_check_timestamp_seconds", "When the instance was last asked.")
        case .chainValid:
            gauge(
                "ssl_cert_chain_valid",
                "1 if each certificate was issued by the next one and none above the leaf has expired; of watched "
                    + "endpoints also: trusted and for the name. Absent while not known.")
        case .ocspStatus:
            gauge(
                "ssl_cert_ocsp_status",
                "What the OCSP response that goes with the certificate says; 1 for one of the four.")
        case .ocspNextUpdate:
            gauge("ssl_cert_ocsp_next_update_timestamp_seconds", "Until when that OCSP response is valid.")
        case .renewalAttempts:
            counter("certs_renewal_attempts_total", "Rotations begun that ask for a new certificate.")
        case .renewalFailures:
            counter("certs_renewal_failures_total", "Rotations that ended without a new certificate being issued.")
        case .renewalConsecutive:
            gauge("certs_renewal_consecutive_failures", "Rotations failed in a row.")
        case .renewalLastSuccess:
            gauge(
                "certs_renewal_last_success_timestamp_seconds", "End of the last rotation that was done; absent: none.")
        case .renewalHint:
            gauge(
                "certs_renewal_hint_timestamp_seconds",
                "The time picked from the window that the CA suggests; absent while it suggests none.")
        case .renewalHintInfo:
            MetricFamily(
                "certs_renewal_hint_info", .info, help: "Where the CA explains its suggestion; always 1.")
        case .renewalHintFailures:
            gauge(
                "certs_renewal_hint_failures",
                "Questions in a row that the CA did not answer; absent where it is not asked.")
        case .deployAttempts:
            counter("certs_deploy_attempts_total", "Rotations that came to the targets of the certificate.")
        case .deployFailures:
            counter("certs_deploy_failures_total", "Rotations whose certificate could not be deployed.")
        case .rollbacks:
            counter("certs_rollbacks_total", "Rotations that ended with the previous certificate restored.")
        case .rollbackFailures:
            counter(
                "certs_rollback_failures_total", "Rotations whose previous certificate could not be restored.")
        }
    }

    private func gauge(_ name: String, _ help: String) -> MetricFamily { MetricFamily(name, .gauge, help: help) }
    private func counter(_ name: String, _ help: String) -> MetricFamily { MetricFamily(name, .counter, help: help) }
}
