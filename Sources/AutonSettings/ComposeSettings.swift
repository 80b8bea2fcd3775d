extension Settings {
    /// What the composition check looks at.
    package struct ComposeSettings: Sendable {
        package var slower = 5.0
        package var orders = 3
    }
}

extension Setting {
    static let compose: [Setting] = [
        Setting(
            "compose.slower", \.compose.slower,
            "Per cent more instructions, bytes or whatever a figure counts, that something may take in company.",
            .from0(upTo: 1_000_000)),
        Setting(
            "compose.orders", \.compose.orders,
            "Other orders of tests and init functions that the whole is booted in: the reverse, and then seeded ones, which also say how suites run beside one another.",
            .from(0, to: 1000)),
    ]
}
