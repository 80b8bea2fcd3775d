extension Settings {
    /// What a run and each of its tasks may spend; nil for no cap.
    package struct Budget: Sendable {
        package var usd: Double?
        package var tokens: Int?
        package var wallMinutes: Double?
        package var taskUSD: Double?
        package var taskTokens: Int?
        package var taskWallMinutes: Double?
        /// The share of a cap that is spent when a warning is due.
        package var warn = 0.8
    }
}

extension Setting {
    static let budget: [Setting] = [
        Setting("budget.usd", \.budget.usd, "US dollars of a run at most; no cap if left out.", example: 20),
        Setting(
            "budget.tokens", \.budget.tokens, "Tokens of a run at most, in and out; no cap if left out.", .trillion,
            example: 20_000_000),
        Setting(
            "budget.wall_minutes", \.budget.wallMinutes,
            "Minutes that auton run may work on a run, starts and kills taken together; no cap if left out.", example: 240),
        Setting("budget.task_usd", \.budget.taskUSD, "US dollars of one task at most; no cap if left out.", example: 5),
        Setting(
            "budget.task_tokens", \.budget.taskTokens, "Tokens of one task at most, in and out; no cap if left out.", .trillion,
            example: 5_000_000),
        Setting(
            "budget.task_wall_minutes", \.budget.taskWallMinutes, "Minutes of one task at most; no cap if left out.", example: 60),
        Setting("budget.warn", \.budget.warn, "The share of a cap that is spent when a warning is due.", .above0(upTo: 1)),
    ]
}

extension Allowed where Value == Int {
    fileprivate static var trillion: Self { .from(1, to: 1_000_000_000_000) }
}
