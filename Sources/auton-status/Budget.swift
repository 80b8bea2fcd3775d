import AutonModel

/// The budget as JSON has it: amounts in USD as numbers, of the run and of each task.
struct Budget: Codable {
    struct Amounts: Codable {
        var usd: Double
        var tokens: Int
    }

    struct Totals: Codable {
        var spent: Amounts
        var reserved: Amounts
        var abandoned: Amounts
        /// Worked, processes side by side each by itself.
        var seconds: Double
    }

    struct Caps: Codable {
        var usd: Double?
        var tokens: Int?
        var taskUsd: Double?
        var taskTokens: Int?
        var taskSeconds: Double?
        /// Seconds since 1970.
        var deadline: Double?
    }

    var run: Totals
    /// By task; `plan` is the Manager's.
    var tasks: [String: Totals]
    var caps: Caps
    /// The same for people.
    var line: String

    init(_ summary: BudgetSummary) {
        run = Self.totals(summary.run)
        tasks = summary.tasks.mapValues(Self.totals)
        let caps = summary.caps
        self.caps = Caps(
            usd: caps.usd.map(Self.number), tokens: caps.tokens, taskUsd: caps.taskUSD.map(Self.number),
            taskTokens: caps.taskTokens,
            taskSeconds: caps.taskSeconds, deadline: caps.deadline)
        line = summary.line
    }

    private static func totals(_ totals: BudgetSummary.Totals) -> Totals {
        func amounts(_ amount: Amount) -> Amounts { Amounts(usd: number(amount.usd), tokens: amount.tokens) }
        return Totals(
            spent: amounts(totals.spent), reserved: amounts(totals.reserved), abandoned: amounts(totals.abandoned),
            seconds: totals.seconds)
    }

    /// The number that is nearest, for printing alone.
    private static func number(_ money: Money) -> Double { Double(money.usd) ?? 0 }
}
