/// A request's body, read as far as answering needs it. Whether it is one that the API would take, `RequestRules` says.
struct Call {
    struct Message {
        var role: String
        /// A string stands for one text block.
        var content: [JSON]
    }

    let json: JSON
    let model: String
    let messages: [Message]

    init(_ json: JSON) {
        self.json = json
        model = json["model"]?.string ?? ""
        messages = (json["messages"]?.array ?? []).map {
            Message(role: $0["role"]?.string ?? "", content: Self.blocks($0["content"]))
        }
    }

    var isStreamed: Bool { json["stream"]?.isTrue ?? false }
    var maxTokens: Int { json["max_tokens"]?.integer ?? .max }
    /// Counted from 1: the one that the model is asked for.
    var turn: Int { messages.count { $0.role == "assistant" } + 1 }
    var tools: [JSON] { json["tools"]?.array ?? [] }
    var system: [JSON] { Self.blocks(json["system"]) }

    /// The text of the first message: all that a request says of which conversation it belongs to.
    var firstMessage: String { messages.first?.content.compactMap { $0["text"]?.string }.joined(separator: "\n") ?? "" }

    private static func blocks(_ content: JSON?) -> [JSON] {
        if let text = content?.string { return [["type": "text", "text": .string(text)]] }
        return content?.array ?? []
    }
}
