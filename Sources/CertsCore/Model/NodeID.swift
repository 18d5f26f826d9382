/// Where one deployment goes: a target that is one HAProxy, or one node of a target that has several.
package struct NodeID: Hashable, Sendable, Codable, Comparable, CustomStringConvertible {
    package var target: Name
    /// `nil`: the target is one HAProxy.
    package var node: Name?

    package init(_ target: Name, node: Name? = nil) {
        self.target = target
        self.node = node
    }

    /// `edge/edge-1`, or `loadbalancer` where the target is one HAProxy.
    package var description: String { node.map { "\(target)/\($0)" } ?? target.rawValue }

    package static func < (left: NodeID, right: NodeID) -> Bool {
        (left.target, left.node?.rawValue ?? "") < (right.target, right.node?.rawValue ?? "")
    }
}
