import AutonKit
import AutonMessages
import AutonModel
import FoundationEssentials
import SystemPackage
import TestSupport
import Testing

/// The budget as the real programs keep and show it.
@Suite struct BudgetTests {
    private let scene: Scene

    init() throws { scene = try Scene() }

    private func status(_ arguments: String..., budget: [String: String] = [:]) async throws -> Outcome {
        try await Program.run("auton-status", arguments, environment: scene.environment.merging(budget) { $1 })
    }

    @Test func outOfBudgetIsExitTwoAndRaisingTheCapGoesOn() async throws {
        try scene.prepareReply("plan-1", 1, plan: threeTasks)
        let refused = try await scene.plan("Build a kernel", environment: ["AUTON_BUDGET_TOKENS": "100"])
        #expect(refused.status == ExitStatus.budget.rawValue && refused.output == "")
        #expect(
            refused.errors.hasPrefix(
                "auton-plan: the run's budget is used up: 0 tokens spent, 0 tokens reserved or abandoned, this turn may take "))
        #expect(refused.errors.hasSuffix(" tokens, the cap is 100 tokens; raise budget.tokens to go on: plan-1 turn 1\n"))
        #expect(scene.wasAsked == [])

        let planned = try await scene.plan("Build a kernel", environment: ["AUTON_BUDGET_TOKENS": "1000000"])
        #expect(planned == Outcome(status: 0, output: "boot-a\nboot-b\nboot-c\n"))
        let totals = try await status("--totals", budget: ["AUTON_BUDGET_TOKENS": "1000000"])
        #expect(totals.lines.last == "budget: 110 of 1000000 tokens spent, 0 reserved, 0 abandoned")
        #expect(try await status().lines.last == "budget: 110 tokens spent, 0 reserved, 0 abandoned")
    }

    @Test func aPriceMakesItDollars() async throws {
        try scene.prepareReply("plan-1", 1, plan: threeTasks)
        let prices = try scene.directory.write("prices.tsv", "exec model\t100\t1000\t-\t-\t-\n")
        let priced = ["AUTON_MODELS": prices.string, "AUTON_BUDGET_USD": "1000", "AUTON_BUDGET_TASK_WALL_MINUTES": "1.65"]
        #expect(try await scene.plan("Build a kernel", environment: priced).status == 0)
        #expect(
            try await status("--totals", budget: priced).lines.last
                == "budget: $0.02 of $1000.00 spent, $0.00 reserved, $0.00 abandoned; 110 tokens spent, 0 reserved, 0 abandoned")
        let json = try await status("--json", budget: priced)
        let budget = try CompactJSON.decode(JSONValue.self, from: Array(json.output.utf8), at: "status")["budget"]
        let amount: JSONValue = ["usd": .number(0.02), "tokens": 110]
        #expect(budget?["run"]?["spent"] == amount && budget?["tasks"]?["plan"]?["spent"] == amount)
        #expect(budget?["caps"] == ["usd": 1000, "task_seconds": 99])
    }

    @Test func withoutALedgerNothingIsSaid() async throws {
        _ = try await scene.plan("--from", scene.write(threeTasks))
        #expect(try await !status().output.contains("budget"))
        #expect(try await !status("--json").output.contains("budget"))
        #expect(!Files.exists(scene.directory["mailbox/budget"]))
    }

    @Test func aCapThatIsNoneIsBadConfiguration() async throws {
        for outcome in [
            try await scene.plan("Build a kernel", environment: ["AUTON_BUDGET_USD": "five"]),
            try await status(budget: ["AUTON_BUDGET_USD": "five"]),
        ] {
            #expect(outcome.status == 78)
            #expect(outcome.errors.contains(": AUTON_BUDGET_USD: budget.usd must be a number"))
        }
    }
}
