import AutonKit
import AutonSettings

/// How much a run, and each of its tasks, may use. What is nil is not bounded.
package struct Caps: Sendable, Equatable {
    package var usd: Money?
    /// All tokens, in (cached or not) and out.
    package var tokens: Int?
    package var taskUSD: Money?
    package var taskTokens: Int?
    /// Seconds that processes work on a task, side by side ones each by itself.
    package var taskSeconds: Double?
    /// When the run ends, in seconds since 1970.
    package var deadline: Double?
    /// The seconds that the run has until its deadline, which the warning's share is of; without it the deadline comes unannounced.
    package var seconds: Double?
    /// At which share of a cap, 0 to 1, a warning is given, once.
    package var warn = 0.8

    package init() {}

    /// The caps that are configured.
    ///
    /// - Parameter deadline: of the run, in seconds since 1970 (`$AUTON_BUDGET_DEADLINE`, from the loop); nil if it has none.
    package init(_ budget: Settings.Budget, deadline: String? = nil) {
        usd = budget.usd.flatMap(Money.init(dollars:))
        tokens = budget.tokens
        taskUSD = budget.taskUSD.flatMap(Money.init(dollars:))
        taskTokens = budget.taskTokens
        taskSeconds = budget.taskWallMinutes.map { $0 * 60 }
        seconds = budget.wallMinutes.map { $0 * 60 }
        self.deadline = deadline.flatMap { Double($0) }
        warn = budget.warn
    }
}
