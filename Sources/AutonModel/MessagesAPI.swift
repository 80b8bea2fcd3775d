import AutonMessages

/// A request of the Claude Messages API (`POST /v1/messages`): the fields that we send.
package struct MessagesRequest: Codable, Sendable, Equatable {
    package var model: String
    package var maxTokens: Int
    package var system: String
    package var tools: [Tool]
    package var messages: [ChatMessage]

    package enum CodingKeys: String, CodingKey {
        case model, system, tools, messages
        case maxTokens = "max_tokens"
    }

    /// The messages since the model's last turn: all that is new to it.
    package var news: [ChatMessage] {
        let last = messages.lastIndex { $0.role == .assistant }
        return Array(messages[(last.map { $0 + 1 } ?? 0)...])
    }
}

/// A tool that the model may call.
package struct Tool: Codable, Sendable, Equatable {
    package var name: String
    package var description: String
    /// JSON Schema of the input.
    package var inputSchema: JSONValue

    package init(name: String, description: String, inputSchema: JSONValue) {
        self.name = name
        self.description = description
        self.inputSchema = inputSchema
    }

    package enum CodingKeys: String, CodingKey {
        case name, description
        case inputSchema = "input_schema"
    }
}

package struct ChatMessage: Codable, Sendable, Equatable {
    package enum Role: String, Choice { case user, assistant }

    package var role: Role
    package var content: [ContentBlock]
    /// Who wrote it, for a model's turn: thinking blocks are for that model alone. Not on the wire.
    package var model: String?

    package init(role: Role, content: [ContentBlock], model: String? = nil) {
        self.role = role
        self.content = content
        self.model = model
    }

    package enum CodingKeys: String, CodingKey { case role, content }

    package var toolResults: [ToolResult] {
        content.compactMap { if case .toolResult(let result) = $0 { result } else { nil } }
    }

    package static func user(_ text: String) -> ChatMessage { ChatMessage(role: .user, content: [.text(text)]) }
}

/// A block of a message. Blocks that we do not interpret (thinking, and whatever comes) are kept as they are, since
/// the API wants them back unchanged.
package enum ContentBlock: Codable, Sendable, Equatable {
    case text(String)
    case toolUse(ToolUse)
    case toolResult(ToolResult)
    case other(JSONValue)

    private enum Key: String, CodingKey { case type, text }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        switch try container.decode(String.self, forKey: .type) {
        case "text": self = .text(try container.decode(String.self, forKey: .text))
        case "tool_use": self = .toolUse(try ToolUse(from: decoder))
        case "tool_result": self = .toolResult(try ToolResult(from: decoder))
        default: self = .other(try JSONValue(from: decoder))
        }
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        switch self {
        case .text(let text):
            try container.encode("text", forKey: .type)
            try container.encode(text, forKey: .text)
        case .toolUse(let use):
            try container.encode("tool_use", forKey: .type)
            try use.encode(to: encoder)
        case .toolResult(let result):
            try container.encode("tool_result", forKey: .type)
            try result.encode(to: encoder)
        case .other(let value):
            try value.encode(to: encoder)
        }
    }
}

/// A call of a tool.
package struct ToolUse: Codable, Sendable, Equatable {
    package var id: String
    package var name: String
    package var input: JSONValue

    package init(id: String, name: String, input: JSONValue) {
        self.id = id
        self.name = name
        self.input = input
    }
}

/// What a call gave.
package struct ToolResult: Codable, Sendable, Equatable {
    package var toolUseID: String
    package var content: String
    package var isError: Bool

    package init(toolUseID: String, content: String, isError: Bool) {
        self.toolUseID = toolUseID
        self.content = content
        self.isError = isError
    }

    package enum CodingKeys: String, CodingKey {
        case content
        case toolUseID = "tool_use_id"
        case isError = "is_error"
    }
}

/// A response of the Messages API.
package struct MessagesResponse: Codable, Sendable, Equatable {
    package var id: String
    package var model: String
    package var role: ChatMessage.Role
    package var content: [ContentBlock]
    /// `end_turn`, `tool_use`, `max_tokens`, `refusal`, …; those that we do not know are no error.
    package var stopReason: String
    package var usage: Usage

    package init(id: String, model: String, content: [ContentBlock], stopReason: String, usage: Usage) {
        self.id = id
        self.model = model
        self.role = .assistant
        self.content = content
        self.stopReason = stopReason
        self.usage = usage
    }

    package enum CodingKeys: String, CodingKey {
        case id, model, role, content, usage
        case stopReason = "stop_reason"
    }

    package var toolUses: [ToolUse] {
        content.compactMap { if case .toolUse(let use) = $0 { use } else { nil } }
    }

    package var text: String {
        content.compactMap { if case .text(let text) = $0 { text } else { nil } }.joined(separator: "\n")
    }

    package struct Usage: Codable, Sendable, Equatable {
        package var inputTokens: Int
        package var outputTokens: Int
        package var cacheCreationInputTokens: Int?
        package var cacheReadInputTokens: Int?

        package init(inputTokens: Int, outputTokens: Int) {
            self.inputTokens = inputTokens
            self.outputTokens = outputTokens
        }

        package enum CodingKeys: String, CodingKey {
            case inputTokens = "input_tokens"
            case outputTokens = "output_tokens"
            case cacheCreationInputTokens = "cache_creation_input_tokens"
            case cacheReadInputTokens = "cache_read_input_tokens"
        }

        package var tokens: TokenUsage {
            TokenUsage(
                input: inputTokens, cacheCreation: cacheCreationInputTokens ?? 0, cacheRead: cacheReadInputTokens ?? 0,
                output: outputTokens)
        }
    }
}
