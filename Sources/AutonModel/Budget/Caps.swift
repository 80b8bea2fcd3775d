import AutonKit

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

    /// The caps that environment variables set: `AUTON_BUDGET_USD`, `_TOKENS`, `_TASK_USD`, `_TASK_TOKENS`, `_TASK_SECONDS`, `_SECONDS`,
    /// `_DEADLINE`, `_WARN`.
    ///
    /// - Parameter value: of the variable of that name, nil if it is not set.
    /// - Throws: `AutonError` with `.badConfiguration` for what is no such amount.
    package init(_ value: (String) -> String?) throws {
        func get<T>(_ name: String, _ what: String, _ parse: (String) -> T?) throws -> T? {
            guard let text = value("AUTON_BUDGET_" + name) else { return nil }
            if let amount = parse(text) { return amount }
            throw AutonError(.badConfiguration, "“\(text)” is no \(what)", at: "AUTON_BUDGET_" + name)
        }
        func count(_ text: String) -> Int? { Int(text).flatMap { $0 >= 0 ? $0 : nil } }
        func seconds(_ text: String) -> Double? { FixedPoint.parse(text.utf8, digits: 3).map { Double($0) / 1000 } }
        usd = try get("USD", "amount in US dollars, such as 5.50") { Money($0) }
        tokens = try get("TOKENS", "number of tokens", count)
        taskUSD = try get("TASK_USD", "amount in US dollars, such as 5.50") { Money($0) }
        taskTokens = try get("TASK_TOKENS", "number of tokens", count)
        taskSeconds = try get("TASK_SECONDS", "number of seconds", seconds)
        deadline = try get("DEADLINE", "number of seconds since 1970", seconds)
        self.seconds = try get("SECONDS", "number of seconds", seconds)
        warn = try get("WARN", "share, 0 to 1") { seconds($0).flatMap { $0 <= 1 ? $0 : nil } } ?? warn
    }
}
