import AutonMessages

/// What a run has used of its budget.
package struct BudgetSummary: Sendable, Equatable {
    package struct Totals: Sendable, Equatable {
        /// By what responses said.
        package var spent = Amount()
        /// The worst case of turns that are under way, or were when their process was killed.
        package var reserved = Amount()
        /// The worst case of turns that may have been billed, without a response that tells.
        package var abandoned = Amount()
        /// Worked, processes side by side each by itself.
        package var seconds = 0.0
    }

    package var run: Totals
    /// Turns that were answered, and what they used by what the answers said.
    package var turns: Int
    package var usage: TokenUsage
    /// By task; `plan` is the Manager's.
    package var tasks: [String: Totals]
    package var caps: Caps

    init(_ book: LedgerBook, _ caps: Caps) {
        func totals(_ totals: LedgerBook.Totals) -> Totals {
            Totals(
                spent: totals.spent, reserved: totals.reserved, abandoned: totals.abandoned, seconds: Double(totals.time) / 1000)
        }
        run = totals(book.run)
        turns = book.turns
        usage = book.usage
        tasks = book.tasks.mapValues(totals)
        self.caps = caps
    }

    /// One line: dollars, if any are spent or capped, and tokens, against the caps.
    package var line: String {
        func part(_ cap: String?, _ unit: String, _ show: (Amount) -> String) -> String {
            let spent = show(run.spent) + (cap.map { " of \($0)" } ?? "") + unit
            return "\(spent) spent, \(show(run.reserved)) reserved, \(show(run.abandoned)) abandoned"
        }
        let tokens = part(caps.tokens.map(String.init), " tokens") { String($0.tokens) }
        let counted = run.spent.usd + run.reserved.usd + run.abandoned.usd
        let dollars = counted > .zero || caps.usd != nil ? part(caps.usd?.description, "") { $0.usd.description } + "; " : ""
        return "budget: \(dollars)\(tokens)"
    }
}
