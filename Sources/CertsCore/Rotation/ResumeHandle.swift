/// What an issuer needs to go on with a request that it has not answered yet (an order URL, a hand-off ticket).
package struct ResumeHandle: Sendable, Hashable, Codable {
    package let rawValue: String
    /// What is waited for, in a few words for people: a challenge, a limit.
    package let waitingFor: String?

    package init(_ rawValue: String, waitingFor: String? = nil) {
        self.rawValue = rawValue
        self.waitingFor = waitingFor
    }
}

/// The handle of each key of a certificate; each is a request of its own.
package struct ResumeHandles: Sendable, Hashable, Codable {
    private var bySlot: [String: ResumeHandle] = [:]

    package init() {}

    package subscript(slot: KeyType?) -> ResumeHandle? {
        get { bySlot[slot?.rawValue ?? ""] }
        set { bySlot[slot?.rawValue ?? ""] = newValue }
    }

    package var isEmpty: Bool { bySlot.isEmpty }

    /// What the first of them waits for, if it is known.
    package var waitingFor: String? { bySlot.sorted { $0.key < $1.key }.lazy.compactMap(\.value.waitingFor).first }
}
