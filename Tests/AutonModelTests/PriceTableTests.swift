import AutonKit
@testable import AutonSettings
import AutonMessages
import SystemPackage
import TestSupport
import Testing

@testable import AutonModel

@Suite struct PriceTableTests {
    private let directory: TemporaryDirectory
    private let shipped: PriceTable

    init() throws {
        directory = try TemporaryDirectory()
        shipped = try PriceTable(reading: Program.package.appending("data/models.tsv"))
    }

    private func usd(_ model: String, _ usage: TokenUsage) throws -> String { try shipped.price(of: model).cost(of: usage).usd }

    /// By hand: input, a cache write at 1.25 of it, a cache read at 0.1 of it, output.
    @Test(arguments: [
        ("claude-fable-5-2", "58.8"), ("claude-opus-5-5", "29.4"), ("claude-sonnet-5-5", "14.7"), ("claude-haiku-4-5", "7.35"),
    ])
    func aMillionOfEach(_ model: String, _ cost: String) throws {
        let million = 1_000_000
        #expect(try usd(model, TokenUsage(input: million, cacheCreation: million, cacheRead: million, output: million)) == cost)
    }

    @Test func everyKindOfTokenHasItsPrice() throws {
        #expect(try usd("claude-opus-5-5", TokenUsage(input: 1)) == "0.000004")
        #expect(try usd("claude-opus-5-5", TokenUsage(cacheCreation: 1)) == "0.000005")
        #expect(try usd("claude-opus-5-5", TokenUsage(cacheRead: 1)) == "0.0000004")
        #expect(try usd("claude-opus-5-5", TokenUsage(output: 1)) == "0.00002")
        #expect(try usd("claude-haiku-5-5", TokenUsage(cacheRead: 1)) == "0.00000001")
        #expect(
            try usd("claude-sonnet-5-5", TokenUsage(input: 3, cacheCreation: 1001, cacheRead: 99_999, output: 7)) == "0.0225783")
    }

    @Test func aLongPromptMakesTheWholeRequestDearer() throws {
        #expect(
            try usd("claude-haiku-5-5", TokenUsage(input: 40_000, cacheCreation: 20_000, cacheRead: 40_000, output: 10))
                == "0.006905")
        #expect(
            try usd("claude-haiku-5-5", TokenUsage(input: 40_001, cacheCreation: 20_000, cacheRead: 40_000, output: 10))
                == "0.0345255")
        let price = try shipped.price(of: "claude-haiku-5-5")
        #expect(price.most(input: 100_000, output: 10).usd == "0.012505")
        #expect(price.most(input: 100_001, output: 10).usd == "0.062525625")
    }

    /// Whatever of the prompt is cached, and however much shorter it is, it costs no more.
    @Test(arguments: ["claude-haiku-5-5", "claude-opus-5-5", "claude-haiku-4-5"])
    func theMostIsTheMost(_ model: String) throws {
        let price = try shipped.price(of: model)
        for prompt in [0, 1, 99_999, 100_000, 100_001, 200_000] {
            let most = price.most(input: prompt, output: 500)
            for part in [0, prompt / 3, prompt / 2, prompt] {
                for usage in [
                    TokenUsage(input: part, output: 500), TokenUsage(cacheCreation: part, output: 499),
                    TokenUsage(input: prompt - part, cacheRead: part),
                    TokenUsage(cacheCreation: part, cacheRead: prompt - part, output: 500),
                ] { #expect(price.cost(of: usage) <= most) }
            }
        }
    }

    @Test func whatAServerMakesUpCostsTheMostOrNothing() throws {
        #expect(try usd("claude-opus-5-5", TokenUsage(input: .max, cacheCreation: .max, output: .max)) == "9223372.036854775807")
        #expect(try usd("claude-opus-5-5", TokenUsage(input: -5, output: .min)) == "0")
        #expect(TokenUsage(input: .max, cacheRead: -1, output: .max).total == .max)
    }

    @Test func aDatedNameIsOfItsFamily() throws {
        #expect(try shipped.price(of: "claude-opus-5-5-20260901") == shipped.price(of: "claude-opus-5-5"))
        #expect(try shipped.price(of: "claude-opus-5-5").window == 1_000_000)
        #expect(try shipped.price(of: "claude-haiku-4-5-20251001").window == 200_000)
    }

    @Test(arguments: [
        "claude-opus-6", "claude-opus-5-5-fast", "claude-opus-5-50", "claude-opus-5-5-2026090", "claude-opus", "", "20260901",
        "-20260901",
    ])
    func anUnknownModelNeverCountsAsNothing(_ model: String) async {
        let error = await failure { try shipped.price(of: model) }
        #expect(error?.status == .badConfiguration)
        #expect(
            error?.what
                == "no price is known for the model \(model); set prices.\"\(model)\".input and output (0 if it costs nothing)")
        #expect(error?.location == "\(Program.package)/data/models.tsv")
    }

    private func settings(_ prices: [String: Settings.Price]) -> Settings {
        var settings = Settings()
        settings.paths.models = "\(Program.package)/data/models.tsv"
        settings.prices = prices
        return settings
    }

    @Test func whatIsConfiguredCounts() throws {
        let table = try PriceTable(
            settings([
                "qwen3:8b": Settings.Price(input: 0, output: 0),
                "claude-opus-5-5": Settings.Price(input: 7, output: 9, window: 5),
                "claude-haiku-5-5": Settings.Price(window: 50_000),
            ]))
        #expect(try table.price(of: "qwen3:8b").cost(of: TokenUsage(input: 1000, output: 1000)) == .zero)
        let dear = try table.price(of: "claude-opus-5-5")
        #expect(dear.rates.cacheWrite.usd == "0.00000875" && dear.rates.cacheRead.usd == "0.0000007" && dear.window == 5)
        let smaller = try table.price(of: "claude-haiku-5-5"), shippedHaiku = try shipped.price(of: "claude-haiku-5-5")
        #expect(smaller.rates == shippedHaiku.rates && smaller.long == shippedHaiku.long && smaller.window == 50_000)
    }

    @Test func aPriceOfAnUnknownModelMustBeWhole() async {
        let error = await failure { try PriceTable(settings(["llama": Settings.Price(input: 0)])) }
        #expect(error?.status == .badConfiguration)
        #expect(error?.description == "prices.\"llama\" needs input and output")
        let fine = await failure { try PriceTable(settings(["llama": Settings.Price(input: 0.1234567, output: 1)])) }
        #expect(fine?.status == .badConfiguration && fine?.description == "prices.\"llama\" has over 6 digits after a point")
    }

    @Test func aTableThatIsNotThereHasNoPrices() async throws {
        let table = try PriceTable(reading: directory["none.tsv"])
        #expect(await failure { try table.price(of: "m") }?.location == directory["none.tsv"].string)
    }

    @Test(arguments: [
        "m", "m\t1\t2\t-\t-", "m\t1\t2\t-\t-\t9\t9\t9", "\t1\t2\t-\t-\t-", "m\tx\t2\t-\t-\t-", "m\t-\t2\t-\t-\t-",
        "m\t1\t\t-\t-\t-",
        "m\t1\t2\t1.2345678\t-\t-", "m\t1\t2\t-\t-1\t-", "m\t1\t2\t-\t-\t0", "m\t1\t2\t-\t-\tmany", "m\t1\t2\t-\t-\t9\t9",
    ])
    func aMalformedLineIsNamed(_ line: String) async throws {
        let path = try directory.write("models.tsv", "# prices\na\t1\t2\t-\t-\t-\n\(line)\n")
        let error = await failure { try PriceTable(reading: path) }
        #expect(error?.status == .badConfiguration && error?.location == "\(path):3")
    }
}
