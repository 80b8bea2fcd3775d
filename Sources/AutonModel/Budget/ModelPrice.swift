import AutonMessages

/// What a model's tokens cost, and how many it can attend to.
package struct ModelPrice: Sendable, Equatable {
    /// Prices of one token. `cacheWrite` is that of the cache which lives for 5 minutes, the only one that we use.
    package struct Rates: Sendable, Equatable {
        package var input: Money
        package var output: Money
        package var cacheWrite: Money
        package var cacheRead: Money

        /// From prices of a million tokens, as price lists have them. A cache write costs 1.25 times the input and a cache read a
        /// tenth of it unless said otherwise (Claude's price list; some models read for less).
        ///
        /// - Returns: nil if a price is not a whole number of picodollars a token, that is, has over 6 digits after the point.
        package init?(input: Money, output: Money, cacheWrite: Money? = nil, cacheRead: Money? = nil) {
            let million = 1_000_000
            let given = [input, output, cacheWrite, cacheRead].compactMap { $0 }
            guard given.allSatisfy({ $0.picodollars % million == 0 }) else { return nil }
            func each(_ price: Money) -> Money { Money(picodollars: price.picodollars / million) }
            self.input = each(input)
            self.output = each(output)
            self.cacheWrite = cacheWrite.map(each) ?? Money(picodollars: (each(input).picodollars * 5 + 3) / 4)
            self.cacheRead = cacheRead.map(each) ?? Money(picodollars: (each(input).picodollars + 9) / 10)
        }

        fileprivate func cost(_ usage: TokenUsage) -> Money {
            usage.input * input + usage.cacheCreation * cacheWrite + usage.cacheRead * cacheRead + usage.output * output
        }

        fileprivate func most(input tokens: Int, output: Int) -> Money {
            tokens * max(input, cacheWrite, cacheRead) + output * self.output
        }
    }

    /// What a request costs whose prompt, cached or not, is over so many tokens: the whole of it, its output too.
    package struct Long: Sendable, Equatable {
        package var over: Int
        package var rates: Rates

        package init(over: Int, rates: Rates) {
            self.over = over
            self.rates = rates
        }
    }

    package var rates: Rates
    package var long: Long?
    /// Context window in tokens; nil if it is not known.
    package var window: Int?

    package init(rates: Rates, long: Long? = nil, window: Int? = nil) {
        self.rates = rates
        self.long = long
        self.window = window
    }

    /// What a request cost, by what the response says that it used.
    package func cost(of usage: TokenUsage) -> Money {
        if let long, usage.prompt > long.over { return long.rates.cost(usage) }
        return rates.cost(usage)
    }

    /// The most that a request can cost whose prompt has up to `input` tokens, whatever of it is read from the cache,
    /// written there or neither, and whose response has up to `output`.
    package func most(input: Int, output: Int) -> Money {
        let short = rates.most(input: input, output: output)
        guard let long, input > long.over else { return short }
        return max(short, long.rates.most(input: input, output: output))
    }
}

extension TokenUsage {
    /// All input tokens, cached or not, whatever a server says.
    var prompt: Int {
        [input, cacheCreation, cacheRead].reduce(0) { $0.addingUpToLimit(max(0, $1)) }
    }

    /// All tokens of a request, in and out: what a cap on tokens counts.
    var total: Int { prompt.addingUpToLimit(max(0, output)) }
}
