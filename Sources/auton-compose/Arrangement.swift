/// How a kernel is booted.
struct Arrangement: Hashable, Sendable {
    /// The suites of tests and benchmarks to run; empty for all.
    var suites: [String] = []
    /// As the harness takes it; nil: by name.
    var order: String?
    /// The seed by which suites run beside one another; nil: one after the other.
    var beside: Int?
    /// Whether time is counted in instructions, so that every boot goes the same way, or passes as on any machine.
    var countsInstructions = true
    /// Tells boots apart that are to be the same.
    var repetition = 0
    /// False: none, since tests may print anything: what the kernel's user sees.
    var runsTests = true

    /// Whether the longest times with interrupts off are looked at, which takes a tenth more: they are compared with each other's in these.
    var tellsMasked: Bool { runsBenches && suites.count != 1 }

    /// Whether benchmarks run: in another order nobody's are looked at.
    var runsBenches: Bool { countsInstructions && order == nil && beside == nil }

    /// Whether it is one of those that pass whatever other threads do.
    static func mayRunBeside(_ test: String) -> Bool { test.contains(".beside_") }

    /// For a file's name.
    var name: String {
        var words = [suites.isEmpty ? "all" : suites.joined(separator: ",")]
        if let order { words.append(order) }
        if let beside { words.append("beside-\(beside)") }
        words += [countsInstructions ? "counted" : "clock", runsTests ? "tests" : "none", String(repetition)]
        return words.joined(separator: "-")
    }
}
