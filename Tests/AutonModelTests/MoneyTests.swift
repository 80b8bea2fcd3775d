import Testing

@testable import AutonModel

@Suite struct MoneyTests {
    @Test(arguments: [
        ("0", 0), ("0.0123", 12_300_000_000), ("5", 5_000_000_000_000), ("5.50", 5_500_000_000_000), (".5", 500_000_000_000),
        ("0.000000000001", 1), ("9223372.036854775807", .max),
    ])
    func decimalTextIsReadExactly(_ text: String, _ picodollars: Int) {
        #expect(Money(text)?.picodollars == picodollars)
    }

    @Test(arguments: [
        "", ".", "-1", "+1", "$1", "1,5", "1e3", "0x10", "1.2.3", " 1", "1 ", "٣", "0.0000000000001", "9223372.036854775808",
        "99999999999999999999",
    ])
    func nothingElseIsMoney(_ text: String) { #expect(Money(text) == nil) }

    @Test(arguments: [
        ("0", "$0.00"), ("5", "$5.00"), ("0.0123", "$0.0123"), ("4.1", "$4.10"), ("0.000000000001", "$0.0001"),
        ("0.01230000001", "$0.0124"),
        ("1234.99999", "$1235.00"), ("9223372.036854775807", "$9223372.0369"),
    ])
    func itShowsAsDollarsRoundedUp(_ text: String, _ shown: String) throws {
        #expect(try #require(Money(text)).description == shown)
    }

    @Test(arguments: ["0", "1", "0.0123", "4.1", "0.000000000001", "1234.5", "9223372.036854775807"])
    func itsTextIsExact(_ text: String) throws { #expect(try #require(Money(text)).usd == text) }

    /// A tenth is no binary fraction: ten million of them added up as Double are off.
    @Test func sumsAreExact() throws {
        let tenth = try #require(Money("0.1"))
        var sum = Money.zero
        for _ in 0..<10_000_000 { sum = sum + tenth }
        #expect(sum.usd == "1000000")
    }

    @Test func whatDoesNotFitIsTheMost() {
        let most = Money(picodollars: .max)
        #expect(most + most == most)
        #expect(Int.max * most == most)
        #expect(-5 * most == .zero)
    }
}
