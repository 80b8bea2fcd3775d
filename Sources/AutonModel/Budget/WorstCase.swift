import AutonMessages

/// The most that a turn can use.
package struct WorstCase: Sendable, Equatable {
    /// Tokens of the prompt, cached or not.
    package var input: Int
    package var output: Int
    /// What they cost at the most; nil if the model has no price, and needs none.
    package var cost: Money?

    package init(input: Int, output: Int, cost: Money? = nil) {
        self.input = input
        self.output = output
        self.cost = cost
    }

    package var tokens: Int { input.addingUpToLimit(output) }

    /// What a server puts round our words, some hundred tokens: the marks of roles and calls, the prompt that explains tools to the
    /// model, a last reply that is counted otherwise as input than it was as output.
    static let margin = 2048

    /// Bounds a request's tokens from above, by numbers alone.
    ///
    /// A token is one byte of text or more, and JSON never makes a text shorter: so there are no more tokens than the body has
    /// bytes. That is three to four times too many. After a turn the response has told exactly how many tokens
    /// there were until then, its own output among them, and only what came since needs to be counted in bytes. Where old tool
    /// results were cleared since, there are fewer tokens than it told, so that the bound holds. Both bounds hold, so the lower
    /// one is taken. A server that told less than a sixteenth of the bytes is not believed: no text has so long tokens.
    ///
    /// - Parameters:
    ///   - previous: all tokens of the conversation's last response, in (cached or not) and out, by the same model; nil if there
    ///     is none.
    ///   - new: bytes of what is new since then.
    ///   - whole: bytes of the request's whole body.
    ///   - maxTokens: the request's `max_tokens`, which the server enforces.
    package static func of(previous: Int?, new: Int, whole: Int, maxTokens: Int) -> WorstCase {
        let told = previous.flatMap { (whole - new) / 16 <= $0 ? $0.addingUpToLimit(new) : nil } ?? .max
        return WorstCase(input: min(told, whole).addingUpToLimit(margin), output: maxTokens)
    }

    /// The same with what it costs.
    package func priced(_ price: ModelPrice) -> WorstCase {
        WorstCase(input: input, output: output, cost: price.most(input: input, output: output))
    }
}
