import AutonMessages

/// Dollars and tokens. What has no price adds tokens alone.
package struct Amount: Sendable, Equatable, CustomStringConvertible {
    package var usd = Money.zero
    package var tokens = 0

    package var description: String { usd > .zero ? "\(usd) and \(tokens) tokens" : "\(tokens) tokens" }

    static func + (a: Amount, b: Amount) -> Amount {
        Amount(usd: a.usd + b.usd, tokens: a.tokens.addingUpToLimit(b.tokens))
    }
    static func - (a: Amount, b: Amount) -> Amount { Amount(usd: a.usd - b.usd, tokens: a.tokens - b.tokens) }
    static func += (a: inout Amount, b: Amount) { a = a + b }
    static func -= (a: inout Amount, b: Amount) { a = a - b }
}
