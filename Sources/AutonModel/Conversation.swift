import AutonKit
import AutonMessages
import SystemPackage

/// A conversation with a model: recorded as it happens, and taken up again from its record after a kill.
package final class Conversation {
    private let transport: any Transport
    private let report: (String) -> Void
    private(set) package var transcript: Transcript
    private var history: History
    /// The request that was sent last, counted from 1; of a turn that the model paused there are several.
    package private(set) var turn = 0
    /// Times in a row that a model may pause its turn before that counts as an error.
    private static let maxPauses = 10

    /// Opens the conversation that `opening` names, with its transcript at `path`: a new one, or the one that was
    /// begun there.
    ///
    /// - Parameters:
    ///   - window: tokens that the model takes; nil if unknown.
    ///   - report: told when a conversation that is taken up again does not go as it went.
    package init(
        _ opening: Transcript.Opening, at path: FilePath, transport: any Transport, window: Int? = nil,
        report: @escaping (String) -> Void
    ) throws {
        self.transport = transport
        self.report = report
        transcript = try Transcript(reading: path)
        if transcript.opening == nil { try transcript.append(opening) }
        history = History(window: window, reply: transcript.opening?.maxTokens ?? opening.maxTokens)
    }

    /// Sends what is new, a user message, and returns the model's turn. A turn that the model pauses goes on in a
    /// request with nothing new.
    ///
    /// - Throws: `ContextWindowExceeded` if the conversation is too long for the model and nothing can be cleared.
    package func send(_ news: ChatMessage) async throws -> MessagesResponse {
        var response = try await exchange([news])
        var pauses = 0
        while response.stopReason == "pause_turn" {
            pauses += 1
            guard pauses <= Self.maxPauses else {
                throw AutonError(.tryAgain, "the model paused \(pauses) times in a row", at: transcript.path.string)
            }
            response = try await exchange([])
        }
        return response
    }

    /// What a call of the last reply came to when it was recorded; nil if it was not, or if the conversation was over with it.
    package func recordedResult(of call: ToolUse) throws -> ToolResult? {
        try transport.recordedResult(of: call, at: Turn(conversation: name, number: turn))
    }

    package var name: String { transcript.opening?.conversation ?? transcript.path.string }

    /// Says that no further turn will come.
    package func close() throws {
        if let opening = transcript.opening { try transport.close(opening.conversation) }
    }

    private func exchange(_ news: [ChatMessage]) async throws -> MessagesResponse {
        turn += 1
        for message in news { history.append(message) }
        let response = try await answer(to: news)
        history.append(response)
        if response.stopReason == "model_context_window_exceeded" { _ = history.shrink() }
        return response
    }

    private func answer(to news: [ChatMessage]) async throws -> MessagesResponse {
        guard let opening = transcript.opening else { throw AutonError(.bug, "a conversation without an opening") }
        if turn <= transcript.requests.count, transcript.requests[turn - 1] != news {
            report("\(opening.conversation) turn \(turn) differs from what was recorded before the interruption")
        }
        let here = Turn(conversation: opening.conversation, number: turn)
        if turn <= transcript.responses.count {
            // A kill may have come between the record and this.
            let response = transcript.responses[turn - 1]
            try transport.settle(here, response)
            return response
        }
        if turn > transcript.requests.count { try transcript.append(request: news) }
        let response = try await ask(opening, at: here)
        try transcript.append(response)
        try transport.settle(here, response)
        return response
    }

    /// Asks until the model takes the conversation for short enough.
    private func ask(_ opening: Transcript.Opening, at turn: Turn) async throws -> MessagesResponse {
        while true {
            let request = MessagesRequest(
                model: transport.model, maxTokens: opening.maxTokens, system: opening.system, tools: opening.tools,
                messages: history.messages)
            do {
                return try await transport.respond(to: request, at: turn)
            } catch let error as ContextWindowExceeded {
                guard history.shrink() else { throw error }
                report("\(turn.conversation) turn \(turn.number): \(error); old tool results are cleared")
            }
        }
    }
}
