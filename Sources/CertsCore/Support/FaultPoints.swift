import Foundation

/// Named places where a test makes the process die or fail: `CERTS_FAULT=after-apply:kill`.
///
/// Read once at start; without the variable a point costs one comparison. Each step of a rotation has a point before
/// it (its intent is recorded, nothing is done) and after it (done, not yet recorded). `after-apply@edge/n3` is that point
/// on one node; without a node it is the first that is reached.
package struct FaultPoints: Sendable {
    package enum Effect: String, Sendable {
        /// As `kill -9`.
        case kill
        /// As a failure of the step.
        case fail
    }

    private let point: String?
    private let effect: Effect

    package init(_ setting: String?) {
        let parts = setting?.split(separator: ":", maxSplits: 1).map(String.init) ?? []
        point = parts.first
        effect = parts.count > 1 ? Effect(rawValue: parts[1]) ?? .kill : .kill
    }

    package static let none = FaultPoints(nil)

    /// The names of all points.
    package static var allNames: [String] {
        Rotation.Step.allCases.filter { $0 != .finished }.flatMap { ["before-\($0.rawValue)", "after-\($0.rawValue)"] }
    }

    /// - Parameter node: the one that the step is about, if it is about one.
    package func reached(_ name: @autoclosure () -> String, at node: NodeID? = nil) throws {
        guard let point else { return }
        let name = name()
        guard point == name || node.map({ point == "\(name)@\($0)" }) == true else { return }
        switch effect {
        case .kill: kill(getpid(), SIGKILL)
        case .fail: throw CertsError(.internal, "the fault point \(point) was set to fail", retry: .later)
        }
    }
}
