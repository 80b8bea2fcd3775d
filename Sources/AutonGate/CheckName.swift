/// The names of the gate's checks. Diff rules name their own.
package enum CheckName {
    /// The agent says that it is done.
    package static let finished = "finished"
    static let changes = "changes"
    static let build = "build"
    static let boot = "boot"
    static let origin = "origin"
    static let counters = "counters"
    static let reproducible = "reproducible"
    static let regression = "regression"
    static let acceptance = "acceptance"
    static let newTests = "new-tests"
    static let console = "console"
    static let speed = "speed"
    static let boots = "boots"
    static let panics = "panics"

    static let ofDiff = [changes] + DiffRules.names
    static let ofTree = [
        build, boot, origin, counters, reproducible, regression, acceptance, newTests, console, speed, boots, panics,
    ]
    /// All that the gate looks at, in its order.
    package static let all = ofDiff + ofTree
}
