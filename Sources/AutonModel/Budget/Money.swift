import AutonMessages

/// An amount of money: a whole number of picodollars (1e-12 USD), so that sums are exact.
///
/// The cheapest token that anyone sells costs some thousands of them, the largest amount is 9.2 million dollars. An
/// amount past that stays the largest one: a number that a server made up may stop the run, but not crash it.
package struct Money: Sendable, Hashable, Comparable, CustomStringConvertible {
    package static let zero = Money(picodollars: 0)

    package var picodollars: Int

    package init(picodollars: Int) { self.picodollars = picodollars }

    /// Parses US dollars as plain decimal text, `0.0123`.
    ///
    /// - Returns: nil for anything else: a sign, a currency, an exponent, more than 12 digits after the point, too much.
    package init?(_ text: some StringProtocol) {
        self.init(utf8: text.utf8)
    }

    /// A number of dollars as it was written: the shortest decimal that the number is the nearest to. Digits past the twelfth
    /// after the point are dropped; too much is the largest amount. Nil if it is negative.
    package init?(dollars: Double) {
        guard dollars >= 0 else { return nil }
        // As in 19.99, 1e-05, 1.5e+16.
        let parts = "\(dollars)".split(separator: "e")
        let mantissa = parts[0].split(separator: ".")
        let digits = mantissa.joined()
        let whole = mantissa[0].utf8.count + (parts.count > 1 ? Int(parts[1]) ?? 0 : 0)
        let before = digits.prefix(max(0, whole)) + String(repeating: "0", count: max(0, whole - digits.utf8.count))
        let after = String(repeating: "0", count: max(0, -whole)) + digits.dropFirst(max(0, whole))
        picodollars = FixedPoint.parse("\(before).\(after.prefix(12))".utf8, digits: 12) ?? .max
    }

    init?(utf8: some Collection<UInt8>) {
        guard let value = FixedPoint.parse(utf8, digits: 12) else { return nil }
        picodollars = value
    }

    /// US dollars as decimal text, exact: `0.0123`.
    package var usd: String { FixedPoint.text(picodollars, digits: 12) }

    /// `$0.0123`, for people: rounded up at the fourth digit, so that what cost something never shows as nothing.
    package var description: String {
        let unit = 100_000_000
        let (whole, rest) = picodollars.quotientAndRemainder(dividingBy: unit)
        return "$" + FixedPoint.text(whole + (rest > 0 ? 1 : 0), digits: 4, least: 2)
    }

    package static func < (a: Money, b: Money) -> Bool { a.picodollars < b.picodollars }
    package static func + (a: Money, b: Money) -> Money {
        Money(picodollars: a.picodollars.addingUpToLimit(b.picodollars))
    }
    package static func - (a: Money, b: Money) -> Money { Money(picodollars: a.picodollars - b.picodollars) }
    /// The price of a number of tokens at so much a token; a negative number, which only a broken server reports, costs nothing.
    package static func * (tokens: Int, price: Money) -> Money {
        let (product, tooLarge) = max(0, tokens).multipliedReportingOverflow(by: price.picodollars)
        return Money(picodollars: tooLarge ? .max : product)
    }
}
