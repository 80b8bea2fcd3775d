import AutonKit
import AutonMessages
import SystemPackage

/// A conversation with a model: recorded as it happens, and taken up again from its record after a kill.
package final class Conversation {
    private let transport: any Transport
    private let report: (String) -> Void
    private(set) package var transcript: Transcript
    private var messages: [ChatMessage] = []
    private var turn = 0

    /// Opens the conversation that `opening` names, with its transcript at `path`: a new one, or the one that was
    /// begun there.
    ///
    /// - Parameter report: told when a conversation that is taken up again does not go as it went.
    package init(
        _ opening: Transcript.Opening, at path: FilePath, transport: any Transport, report: @escaping (String) -> Void
    ) throws {
        self.transport = transport
        self.report = report
        transcript = try Transcript(reading: path)
        if transcript.opening == nil { try transcript.append(opening) }
    }

    /// Sends what is new, a user message, and returns the model's turn.
    package func send(_ news: ChatMessage) async throws -> MessagesResponse {
        turn += 1
        messages.append(news)
        let response = try await answer(to: news)
        messages.append(ChatMessage(role: .assistant, content: response.content))
        return response
    }

    /// Says that no further turn will come.
    package func close() throws {
        if let opening = transcript.opening { try transport.close(opening.conversation) }
    }

    private func answer(to news: ChatMessage) async throws -> MessagesResponse {
        guard let opening = transcript.opening else { throw AutonError(.bug, "a conversation without an opening") }
        if turn <= transcript.requests.count, transcript.requests[turn - 1] != [news] {
            report("\(opening.conversation) turn \(turn) differs from what was recorded before the interruption")
        }
        let here = Turn(conversation: opening.conversation, number: turn)
        if turn <= transcript.responses.count {
            // A kill may have come between the record and this.
            let response = transcript.responses[turn - 1]
            try transport.settle(here, response)
            return response
        }
        if turn > transcript.requests.count { try transcript.append(request: [news]) }
        let request = MessagesRequest(
            model: transport.model, maxTokens: opening.maxTokens, system: opening.system, tools: opening.tools, messages: messages
        )
        let response = try await transport.respond(to: request, at: here)
        try transcript.append(response)
        try transport.settle(here, response)
        return response
    }
}
