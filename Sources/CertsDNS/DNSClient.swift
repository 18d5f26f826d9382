internal import CLDNS
package import CertsCore

/// A DNS client: the questions and dynamic updates that challenges and CAA need.
package struct DNSClient: Sendable {
    package init() {}
    static var version: String { String(cString: ldns_version()) }
}
