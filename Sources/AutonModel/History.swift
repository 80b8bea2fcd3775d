import AutonMessages

/// The messages of a conversation as they are sent: all that was said, until that nears the model's window. Then old tool
/// results, and the long inputs of the calls they answer, are cleared in one large step: each step changes the beginning
/// of the request, which the provider's cache holds, so there should be few.
///
/// Everything follows from what the transcript holds, so a conversation that is taken up again clears the same.
struct History {
    private(set) var messages: [ChatMessage] = []
    /// Tokens that the model takes, input and output together; nil if unknown: nothing is cleared then.
    private let window: Int?
    /// Room that the reply may need, in tokens.
    private let reply: Int
    /// The messages before this index are cleared.
    private var cleared = 0
    /// Tokens of all but the messages since the last response: what the last response was billed for, less what was cleared since.
    private var known = 0
    /// Bytes of the messages since then.
    private var news = 0

    /// A step goes down to this share of what fits.
    private static let target = 0.5
    /// Inputs of calls are cleared from this many bytes on.
    private static let longInput = 1000
    /// The newest messages stay whole whatever comes: the last results and the turn that asked for them.
    private static let kept = 4

    init(window: Int?, reply: Int) {
        self.window = window
        self.reply = reply
    }

    mutating func append(_ message: ChatMessage) {
        messages.append(message)
        news += message.bytes
        guard let window else { return }
        // A reply that takes all of the window would leave nothing to ask with.
        let room = max(window - reply, window / 2)
        if estimate > room { clear(to: Int(Double(room) * Self.target)) }
    }

    mutating func append(_ response: MessagesResponse) {
        messages.append(ChatMessage(role: .assistant, content: response.content, model: response.model))
        known = response.usage.tokens.allInput + response.usage.outputTokens
        news = 0
    }

    /// Clears half of what there is, because the model says that it is too much.
    ///
    /// - Returns: false if there is nothing left to clear.
    mutating func shrink() -> Bool {
        let before = cleared
        clear(to: estimate / 2)
        return cleared > before
    }

    /// Tokens of the next request. Four bytes a token is the rule of thumb for code and English.
    private var estimate: Int { known + news / 4 }

    private mutating func clear(to goal: Int) {
        while estimate > goal && cleared < messages.count - Self.kept {
            let before = messages[cleared].bytes
            messages[cleared].clear(from: Self.longInput)
            known = max(0, known - (before - messages[cleared].bytes) / 4)
            cleared += 1
        }
    }
}

extension ChatMessage {
    /// Of its text, calls and results.
    fileprivate var bytes: Int {
        content.reduce(0) { sum, block in
            switch block {
            case .text(let text): sum + text.utf8.count
            case .toolUse(let use): sum + use.input.bytes
            case .toolResult(let result): sum + result.content.utf8.count
            case .other(let value): sum + value.bytes
            }
        }
    }

    fileprivate mutating func clear(from limit: Int) {
        content = content.map { block in
            switch block {
            case .toolResult(var result):
                let note = "[cleared to save room: \(result.content.utf8.count) bytes; call the tool again if you need them]"
                if result.content.utf8.count > note.utf8.count { result.content = note }
                return .toolResult(result)
            case .toolUse(var use):
                use.input = use.input.clearing(from: limit)
                return .toolUse(use)
            case .text, .other: return block
            }
        }
    }
}

extension JSONValue {
    fileprivate var bytes: Int {
        switch self {
        case .null, .bool, .integer, .number: 4
        case .string(let text): text.utf8.count
        case .array(let items): items.reduce(0) { $0 + $1.bytes }
        case .object(let members): members.reduce(0) { $0 + $1.key.utf8.count + $1.value.bytes }
        }
    }

    /// The members of an object that are longer texts replaced by a note.
    fileprivate func clearing(from limit: Int) -> JSONValue {
        guard case .object(let members) = self else { return self }
        return .object(
            members.mapValues { value in
                guard let text = value.string, text.utf8.count >= limit else { return value }
                return .string("[cleared to save room: \(text.utf8.count) bytes]")
            })
    }
}
