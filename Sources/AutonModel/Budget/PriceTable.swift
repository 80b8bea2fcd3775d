import AutonKit
import AutonSettings
import SystemPackage

/// The prices of models by name, from a file and from what the user adds.
package struct PriceTable: Sendable {
    private var prices: [String: ModelPrice]
    private let place: String

    /// A table of these prices alone.
    package init(_ prices: [String: ModelPrice] = [:]) {
        self.prices = prices
        place = "the price table"
    }

    /// Reads a file like `data/models.tsv`, which tells its own format; one that is not there has no prices.
    ///
    /// - Throws: `AutonError` with `.badConfiguration` and the line if the file is malformed.
    package init(reading path: FilePath) throws {
        place = path.string
        prices = [:]
        if Files.exists(path) {
            let lines = try Files.readText(path).split(separator: "\n", omittingEmptySubsequences: false)
            for (number, line) in lines.enumerated() where !line.isEmpty && !line.hasPrefix("#") {
                if let problem = add(line) {
                    throw AutonError(.badConfiguration, "\(problem) in the price table", at: "\(path):\(number + 1)")
                }
            }
        }
    }

    /// The table that comes with the programs, and over it what is configured; what a configured price leaves out is that of
    /// the table.
    ///
    /// - Throws: `AutonError` with `.badConfiguration` if that leaves a model without a price of input or output, or gives it one that
    ///   is no whole number of picodollars a token.
    package init(_ settings: Settings) throws {
        self = try PriceTable(reading: FilePath(settings.paths.models))
        for (name, given) in settings.prices {
            let known = find(name)
            func price(_ dollars: Double?, _ known: Money?) -> Money? {
                dollars.flatMap(Money.init(dollars:)) ?? known.map { Money(picodollars: $0.picodollars * 1_000_000) }
            }
            guard let input = price(given.input, known?.rates.input), let output = price(given.output, known?.rates.output)
            else { throw AutonError(.badConfiguration, "prices.\"\(name)\" needs input and output") }
            guard
                let rates = ModelPrice.Rates(
                    input: input, output: output,
                    // Those of the table belong to the table's input.
                    cacheWrite: price(given.cacheWrite, given.input == nil ? known?.rates.cacheWrite : nil),
                    cacheRead: price(given.cacheRead, given.input == nil ? known?.rates.cacheRead : nil))
            else { throw AutonError(.badConfiguration, "prices.\"\(name)\" has over 6 digits after a point") }
            prices[name] = ModelPrice(
                rates: rates, long: given.input == nil && given.output == nil ? known?.long : nil,
                window: given.window ?? known?.window)
        }
    }

    /// The price of a model: that of its name, or else of its name without a date at the end, `-20260901`. Nothing else is guessed: a
    /// variant of a model may cost a multiple of it.
    ///
    /// - Throws: `AutonError` with `.badConfiguration` if there is none. Nothing is free unless its price is given as 0.
    package func price(of model: String) throws -> ModelPrice {
        if let price = find(model) { return price }
        throw AutonError(
            .badConfiguration,
            "no price is known for the model \(model); set prices.\"\(model)\".input and output (0 if it costs nothing)",
            at: place)
    }

    /// As `price(of:)`, nil if there is none.
    package func find(_ model: String) -> ModelPrice? { prices[model] ?? prices[Self.undated(model)] }

    /// A model's name without its date.
    static func undated(_ model: String) -> String {
        let date = model.utf8.suffix(9)
        let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
        guard date.count == 9, date.first == UInt8(ascii: "-"), date.dropFirst().allSatisfy(digits.contains) else { return model }
        return String(model.dropLast(9))
    }

    /// Adds a line of the file.
    ///
    /// - Returns: what is wrong with it, nil if nothing is.
    private mutating func add(_ line: Substring) -> String? {
        let fields = line.split(separator: "\t", omittingEmptySubsequences: false).map { $0.drop { $0 == " " } }
        guard (6...7).contains(fields.count), !fields[0].isEmpty else { return "not 6 or 7 columns" }
        let amounts = fields[1...4].map { $0 == "-" ? nil : Money($0) }
        guard let input = amounts[0], let output = amounts[1],
            !zip(fields[1...4], amounts).contains(where: { $0 != "-" && $1 == nil }),
            let rates = ModelPrice.Rates(input: input, output: output, cacheWrite: amounts[2], cacheRead: amounts[3])
        else { return "no price in USD a million tokens" }
        let window = Int(fields[5])
        if fields[5] != "-" && (window ?? 0) <= 0 { return "no number of tokens" }
        let name = String(fields[0])
        guard fields.count == 7 else {
            prices[name] = ModelPrice(rates: rates, window: window)
            return nil
        }
        guard let over = Int(fields[6]), over > 0 else { return "no number of tokens" }
        guard prices[name] != nil else { return "the price of a long prompt before that of the others" }
        prices[name]?.long = ModelPrice.Long(over: over, rates: rates)
        return nil
    }
}
