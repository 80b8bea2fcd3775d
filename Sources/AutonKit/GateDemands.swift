/// The machines that a kernel must boot on.
package enum BootDemand: Sendable, Equatable {
    /// All that this machine's tools and the tree's own boot paths allow; the others are skipped.
    case available
    /// These. A tool that is missing for one is an error; a boot path that the tree does not have yet is skipped.
    case named([Machine])

    package var machines: [Machine] {
        switch self {
        case .available: Machine.all
        case .named(let machines): machines
        }
    }
}

/// What the gate asks of a kernel beside its tests.
package struct GateDemands: Sendable {
    package var boots = BootDemand.named([Machine()])
    /// Per cent that a benchmark may take longer than on the base.
    package var slower = 5.0

    package init() {}
}
