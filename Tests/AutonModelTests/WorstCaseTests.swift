import AutonKit
import AutonMessages
import TestSupport
import Testing

@testable import AutonModel

@Suite struct WorstCaseTests {
    @Test func aFirstTurnHasNoMoreTokensThanBytes() {
        let worst = WorstCase.of(previous: nil, new: 100, whole: 5000, maxTokens: 32_000)
        #expect(worst == WorstCase(input: 5000 + 2048, output: 32_000))
        #expect(worst.tokens == 39_048)
    }

    @Test func aLaterOneHasWhatWasToldAndTheBytesOfWhatIsNew() {
        #expect(WorstCase.of(previous: 90_000, new: 700, whole: 400_000, maxTokens: 10).input == 90_700 + 2048)
    }

    /// The history was cut down since it was told how long it is.
    @Test func theLowerBoundHolds() {
        #expect(WorstCase.of(previous: 90_000, new: 700, whole: 30_000, maxTokens: 10).input == 32_048)
    }

    /// A server that counts next to nothing would have the cap overshot.
    @Test func whatCannotBeTrueIsNotBelieved() {
        #expect(WorstCase.of(previous: 6, new: 100, whole: 100_000, maxTokens: 10).input == 102_048)
    }

    @Test func whatDoesNotFitIsTheMost() {
        #expect(WorstCase.of(previous: .max, new: .max, whole: .max, maxTokens: .max).tokens == .max)
    }

    /// At the price of a cache write, which is dearer than plain input.
    @Test func itCosts() throws {
        let price = ModelPrice(rates: try #require(.init(input: Money("4")!, output: Money("20")!)))
        #expect(WorstCase(input: 1_000_000, output: 1000).priced(price).cost?.usd == "5.02")
    }
}
