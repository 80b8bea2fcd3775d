import Synchronization

/// Meters a transport by the ledger: reserves every request's worst case, and settles it.
package final class BudgetMeter: Meter {
    /// The last response of a conversation.
    private struct Told: Sendable {
        var turn: Int
        var model: String
        /// All tokens, in and out.
        var tokens: Int
    }

    private let ledger: Ledger
    private let needsPrice: Bool
    private let told = Mutex<[String: Told]>([:])

    /// - Parameter needsPrice: a model without a price is an error. Without it only its tokens and its time are counted, which is right
    ///   for models that cost nothing by the token: a person, a command.
    package init(_ ledger: Ledger, needsPrice: Bool) {
        self.ledger = ledger
        self.needsPrice = needsPrice
    }

    /// - Throws: `AutonError` with `.budget` if there is no room, `.badConfiguration` if the model needs a price and has none.
    package func reserve(_ request: MessagesRequest, body bytes: Int, at turn: Turn) throws {
        let price = needsPrice ? try ledger.prices.price(of: request.model) : ledger.prices.find(request.model)
        let worst = WorstCase.of(
            previous: previous(of: request, turn), new: try CompactJSON.encode(request.news).count, whole: bytes,
            maxTokens: request.maxTokens)
        try ledger.reserve(price.map(worst.priced) ?? worst, model: request.model, at: turn)
    }

    package func release(_ turn: Turn) throws { try ledger.release(turn) }

    package func abandon(_ turn: Turn) throws { try ledger.abandon(turn) }

    /// Told once the response is on disk in the transcript, and of the turns that were there already.
    package func settle(_ turn: Turn, _ response: MessagesResponse) throws {
        let usage = response.usage.tokens
        told.withLock { $0[turn.conversation] = Told(turn: turn.number, model: response.model, tokens: usage.total) }
        try ledger.settle(turn, usage: usage, model: response.model)
    }

    /// The tokens until the turn before; nil if they are not known or another model counted them, whose tokens are others.
    private func previous(of request: MessagesRequest, _ turn: Turn) -> Int? {
        guard let last = told.withLock({ $0[turn.conversation] }), last.turn == turn.number - 1, last.tokens > 0,
            PriceTable.undated(last.model) == PriceTable.undated(request.model)
        else { return nil }
        return last.tokens
    }
}
