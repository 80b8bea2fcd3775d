import AutonKit
import AutonMessages
import Synchronization
import TestSupport
import Testing

@testable import AutonModel

/// A mailbox's budget under test, with a model whose tokens cost $10 a million, cached or not.
final class LedgerScene: Sendable {
    let directory: TemporaryDirectory
    private let said = Mutex<[String]>([])

    init() throws { directory = try TemporaryDirectory() }

    static let tenDollars = ModelPrice(
        rates: ModelPrice.Rates(
            input: Money("10")!, output: Money("10")!, cacheWrite: Money("10")!, cacheRead: Money("10")!)!)
    static let prices = PriceTable(["m": tenDollars])

    /// A worst case of so many tokens: a thousand are a cent.
    static func worst(_ tokens: Int) -> WorstCase { WorstCase(input: tokens - 1, output: 1).priced(tenDollars) }

    /// A ledger as a process of its own has it.
    func ledger(prices: PriceTable = prices, _ set: (inout Caps) -> Void = { _ in }) -> Ledger {
        var caps = Caps()
        set(&caps)
        return Ledger(directory["mailbox"], caps: caps, prices: prices) { line in self.said.withLock { $0.append(line) } }
    }

    var reports: [String] { said.withLock { $0 } }

    func text() throws -> String { try directory.read("mailbox/budget/ledger.tsv") }

    /// The columns of every line.
    func lines() throws -> [[String]] {
        try text().split(separator: "\n").map { $0.split(separator: "\t", omittingEmptySubsequences: false).map(String.init) }
    }

    func write(_ text: String) throws { try directory.write("mailbox/budget/ledger.tsv", text) }

    /// What a process that comes new to it makes of the ledger.
    func summary() throws -> BudgetSummary { try #require(try ledger().summary()) }

    /// Waits until it is so, for a minute at the most.
    func eventually(_ isSo: () throws -> Bool) async throws {
        for _ in 0..<3000 {
            if try isSo() { return }
            try await Task.sleep(for: .milliseconds(20))
        }
        Issue.record("it never is")
    }

    /// Spent, reserved and abandoned tokens.
    func tokens() throws -> [Int] {
        let run = try summary().run
        return [run.spent.tokens, run.reserved.tokens, run.abandoned.tokens]
    }
}

func turn(_ conversation: String, _ number: Int = 1) -> Turn { Turn(conversation: conversation, number: number) }
