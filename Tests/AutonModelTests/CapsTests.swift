import AutonKit
import TestSupport
import Testing

@testable import AutonModel

@Suite struct CapsTests {
    private func caps(_ variables: [String: String]) throws -> Caps { try Caps { variables[$0] } }

    @Test func nothingIsBoundedUnlessItIsSet() throws {
        #expect(try caps([:]) == Caps())
        #expect(Caps().warn == 0.8)
    }

    @Test func theEnvironmentSetsThem() throws {
        var expected = Caps()
        expected.usd = Money("5.50")
        expected.tokens = 1000
        expected.taskUSD = Money("0.5")
        expected.taskTokens = 0
        expected.taskSeconds = 1.5
        expected.deadline = 1_800_000_000
        expected.seconds = 3600
        expected.warn = 0.5
        #expect(
            try caps([
                "AUTON_BUDGET_USD": "5.50", "AUTON_BUDGET_TOKENS": "1000", "AUTON_BUDGET_TASK_USD": "0.5",
                "AUTON_BUDGET_TASK_TOKENS": "0",
                "AUTON_BUDGET_TASK_SECONDS": "1.5", "AUTON_BUDGET_DEADLINE": "1800000000", "AUTON_BUDGET_SECONDS": "3600",
                "AUTON_BUDGET_WARN": "0.5",
            ]) == expected)
    }

    @Test(arguments: [
        ("USD", "$5", "amount in US dollars, such as 5.50"), ("USD", "-1", "amount in US dollars, such as 5.50"),
        ("TOKENS", "1e6", "number of tokens"), ("TOKENS", "-1", "number of tokens"), ("TASK_SECONDS", "1h", "number of seconds"),
        ("WARN", "1.1", "share, 0 to 1"), ("WARN", "80%", "share, 0 to 1"),
    ])
    func whatIsNoAmountIsNamed(_ name: String, _ text: String, _ what: String) async {
        let error = await failure { try caps(["AUTON_BUDGET_" + name: text]) }
        #expect(error?.status == .badConfiguration)
        #expect(error?.description == "“\(text)” is no \(what): AUTON_BUDGET_\(name)")
    }
}
