package import Foundation

/// What one endpoint was seen serving, and when.
package struct EndpointObservation: Sendable, Hashable, Codable {
    package var endpoint: Endpoint
    /// The leaf that was served; `nil`: not known.
    package var served: Fingerprint?
    package var servedNotAfter: Date?
    /// Why nothing is known, if so.
    package var problem: String?
    package var observedAt: Date

    package init(
        endpoint: Endpoint, served: Fingerprint?, servedNotAfter: Date? = nil, problem: String? = nil, observedAt: Date
    ) {
        self.endpoint = endpoint
        self.served = served
        self.servedNotAfter = servedNotAfter
        self.problem = problem
        self.observedAt = observedAt
    }
}

/// One cell of the verification matrix: which handshake was made, what for, and what it showed.
package struct Sighting: Sendable, Hashable, Codable {
    package var question: Question
    package var observation: EndpointObservation
    /// Whether the leaf that was seen is for the server name that was sent; `nil`: not known, or none was sent.
    package var isForName: Bool?

    package init(_ question: Question, _ observation: EndpointObservation, isForName: Bool? = nil) {
        self.question = question
        self.observation = observation
        self.isForName = isForName
    }

    /// A handshake to be made. ``Endpoint/serverName`` is the server name that is sent; `nil`: none.
    package struct Question: Sendable, Hashable, Codable {
        package var endpoint: Endpoint
        package var client: ClientProfile
        package var subject: Subject

        package init(_ endpoint: Endpoint, _ client: ClientProfile = .init(), about subject: Subject = .own) {
            self.endpoint = endpoint
            self.client = client
            self.subject = subject
        }
    }

    /// What a handshake is asked about.
    package enum Subject: String, Sendable, Hashable, Codable {
        /// A name of the certificate: it must be served.
        case own
        /// No name, an unknown name, a name of another certificate: what was served must not change, unless it was ours.
        case neighbour
    }
}

/// What a client offers in a handshake: a server with several certificates shows each only to one that has no choice.
package struct ClientProfile: Sendable, Hashable, Codable {
    package var version: Version
    /// The only type of key that the client takes; `nil`: any.
    package var keyType: KeyType?

    package enum Version: String, Sendable, Hashable, Codable, CaseIterable {
        case any
        case tls12 = "1.2"
        case tls13 = "1.3"
    }

    package init(version: Version = .any, keyType: KeyType? = nil) {
        self.version = version
        self.keyType = keyType
    }
}

/// The state of one certificate on one node, as last seen.
package struct TargetObservation: Sendable, Hashable, Codable {
    package var node: NodeID
    package var state: Deployment.State
    package var endpoints: [EndpointObservation]

    package init(node: NodeID, state: Deployment.State, endpoints: [EndpointObservation]) {
        self.node = node
        self.state = state
        self.endpoints = endpoints
    }
}
