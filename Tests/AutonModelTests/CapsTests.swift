@testable import AutonSettings
import Testing

@testable import AutonModel

@Suite struct CapsTests {
    @Test func nothingIsBoundedUnlessItIsSet() {
        #expect(Caps(Settings.Budget()) == Caps())
        #expect(Caps().warn == 0.8)
    }

    @Test func whatIsConfigured() {
        var budget = Settings.Budget()
        budget.usd = 5.5
        budget.tokens = 1000
        budget.wallMinutes = 60
        budget.taskUSD = 0.1
        budget.taskTokens = 10
        budget.taskWallMinutes = 0.025
        budget.warn = 0.5
        var expected = Caps()
        expected.usd = Money("5.50")
        expected.tokens = 1000
        expected.seconds = 3600
        expected.taskUSD = Money("0.1")
        expected.taskTokens = 10
        expected.taskSeconds = 1.5
        expected.deadline = 1_800_000_000
        expected.warn = 0.5
        #expect(Caps(budget, deadline: "1800000000") == expected)
    }

    @Test(arguments: [
        (0, "0"), (0.000001, "0.000001"), (19.99, "19.99"), (1e300, Money(picodollars: .max).usd), (100, "100"),
        (0.1234567, "0.1234567"), (1234567.1234567, "1234567.1234567"), (1.5e-7, "0.00000015"), (2.5e-12, "0.000000000002"),
        (1e-300, "0"), (9_000_000, "9000000"), (.infinity, Money(picodollars: .max).usd),
    ])
    func dollarsAreTheDecimalThatWasWritten(_ dollars: Double, _ text: String) {
        #expect(Money(dollars: dollars)?.usd == text)
        #expect(Money(dollars: -1) == nil && Money(dollars: .nan) == nil)
    }
}
