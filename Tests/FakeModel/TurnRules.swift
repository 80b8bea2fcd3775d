/// What has to hold from message to message: whose turn it is, and that every tool call has its result.
struct TurnRules {
    var call: Call

    /// - Throws: `APIError` with what is wrong first.
    func check() throws {
        guard let messages = call.json["messages"] else { throw APIError.invalid("messages: Field required") }
        guard messages.array != nil, !call.messages.isEmpty else {
            throw APIError.invalid("messages: at least one message is required")
        }
        guard call.messages[0].role == "user" else {
            throw APIError.invalid("messages: first message must use the \"user\" role")
        }
        var known: Set<String> = []
        var open: Set<String> = []
        for (index, message) in call.messages.enumerated() {
            let place = "messages.\(index)"
            guard message.role == "user" || message.role == "assistant" else {
                throw APIError.invalid("\(place).role: must be 'user' or 'assistant'")
            }
            guard !message.content.isEmpty else { throw APIError.invalid("\(place): content must not be empty") }
            try checkResults(message, of: open, at: place)
            open = []
            for (number, block) in message.content.enumerated() {
                try check(block, of: message.role, at: "\(place).content.\(number)")
                guard block["type"] == "tool_use", let id = block["id"]?.string else { continue }
                guard known.insert(id).inserted else { throw APIError.invalid("\(place): `tool_use` ids must be unique") }
                open.insert(id)
            }
        }
        guard open.isEmpty else { throw unanswered(open, at: "messages.\(call.messages.count - 1)") }
    }

    /// The results of one message's calls are all in the next message, once each and before all else.
    private func checkResults(_ message: Call.Message, of calls: Set<String>, at place: String) throws {
        var open = calls
        let isResult = message.content.map { $0["type"] == "tool_result" }
        for block in message.content where block["type"] == "tool_result" {
            guard let id = block["tool_use_id"]?.string else { throw APIError.invalid("\(place): tool_use_id: Field required") }
            guard message.role == "user", open.remove(id) != nil else {
                throw APIError.invalid(
                    "\(place): unexpected `tool_use_id` \(id) in a `tool_result`: no such call in the previous message")
            }
        }
        guard open.isEmpty else { throw unanswered(open, at: place) }
        if let text = isResult.firstIndex(of: false), isResult[text...].contains(true) {
            throw APIError.invalid("\(place): `tool_result` blocks must come before other content")
        }
    }

    private func unanswered(_ ids: Set<String>, at place: String) -> APIError {
        .invalid("\(place): `tool_use` ids without `tool_result` in the next message: \(ids.sorted().joined(separator: ", "))")
    }

    private func check(_ block: JSON, of role: String, at place: String) throws {
        switch block["type"]?.string {
        case "text":
            guard let text = block["text"]?.string, !text.allSatisfy(\.isWhitespace) else {
                throw APIError.invalid("\(place): text content blocks must contain non-whitespace text")
            }
        case "tool_use":
            guard role == "assistant", let id = block["id"]?.string, id.isIdentifier, block["name"]?.string != nil
            else { throw APIError.invalid("\(place): a tool_use needs the assistant's role, an id and a name") }
            guard block["input"]?.members != nil else { throw APIError.invalid("\(place).input: Input should be an object") }
        case nil: throw APIError.invalid("\(place).type: Field required")
        default: break
        }
    }
}

extension String {
    /// Whether it is one as the API wants it of tools and calls: letters, digits, `_` and `-`.
    var isIdentifier: Bool {
        !isEmpty
            && utf8.allSatisfy {
                switch $0 {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"),
                    UInt8(ascii: "_"), UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }
}
