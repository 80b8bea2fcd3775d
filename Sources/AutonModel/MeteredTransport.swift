/// A transport whose turns count against the budget.
package struct MeteredTransport: Transport {
    /// Who tells the meter of requests.
    package enum Reserving: Sendable {
        /// This does, once for a turn.
        case here
        /// This does, and a turn that is asked again is the same request: it waits where it was put, over kills too.
        case hereOnce
        /// The transport does by itself, for every request that it makes.
        case there
    }

    private let transport: any Transport
    private let meter: BudgetMeter
    private let reserving: Reserving

    package init(_ transport: any Transport, _ meter: BudgetMeter, reserving: Reserving) {
        self.transport = transport
        self.meter = meter
        self.reserving = reserving
    }

    package var model: String { transport.model }

    /// - Throws: `AutonError` with `.budget` if there is no room for the turn; and as the transport does.
    package func respond(to request: MessagesRequest, at turn: Turn) async throws -> MessagesResponse {
        if reserving == .there { return try await transport.respond(to: request, at: turn) }
        if reserving == .hereOnce { try meter.release(turn) }
        try meter.reserve(request, body: try CompactJSON.encode(request).count, at: turn)
        do {
            return try await transport.respond(to: request, at: turn)
        } catch let error as NotAsked {
            try meter.release(turn)
            throw error.reason
        } catch {
            // Whoever was asked may have done the work all the same. If that cannot be written, the reservation counts as well.
            try? meter.abandon(turn)
            throw error
        }
    }

    package func settle(_ turn: Turn, _ response: MessagesResponse) throws {
        try meter.settle(turn, response)
        try transport.settle(turn, response)
    }

    package func close(_ conversation: String) throws { try transport.close(conversation) }
}
