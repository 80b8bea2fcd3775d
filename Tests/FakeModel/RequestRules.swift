/// What the API refuses with a 400, as far as a client of ours could get it wrong.
struct RequestRules {
    /// Other servers know less, and refuse less.
    var isSubset: Bool
    /// Of the header `anthropic-version`.
    var version: String?
    /// Whether an answer is asked for, or only a count.
    var isAnswered: Bool

    private static let fields: Set<String> = [
        "model", "max_tokens", "messages", "system", "tools", "tool_choice", "stream", "stop_sequences", "thinking",
        "output_config", "cache_control", "metadata", "service_tier", "container", "diagnostics", "inference_geo", "speed",
        "temperature", "top_p", "top_k",
    ]

    /// - Throws: `APIError` with what is wrong first.
    func check(_ call: Call, _ handedOut: HandedOut) throws {
        guard let members = call.json.members else { throw APIError.invalid("the body must be an object") }
        guard !call.model.isEmpty else { throw APIError.invalid("model: Field required") }
        if isAnswered {
            guard let tokens = call.json["max_tokens"] else { throw APIError.invalid("max_tokens: Field required") }
            guard let count = tokens.integer, count > 0 else { throw APIError.invalid("max_tokens: must be an integer above 0") }
        }
        try TurnRules(call: call).check()
        if isSubset { return }
        guard let version else { throw APIError.invalid("anthropic-version: header is required") }
        for member in members {
            guard Self.fields.contains(member.name) else {
                throw APIError.invalid("\(member.name): Extra inputs are not permitted")
            }
            if ["temperature", "top_p", "top_k"].contains(member.name), version > "2023-06-01" {
                throw APIError.invalid("\(member.name): not supported in version \(version)")
            }
        }
        try checkTools(call)
        try checkThinking(call, handedOut)
        try checkBreakpoints(call)
    }

    private func checkTools(_ call: Call) throws {
        var names: Set<String> = []
        for (index, tool) in call.tools.enumerated() {
            guard let name = tool["name"]?.string, name.isIdentifier, name.utf8.count <= 128 else {
                throw APIError.invalid("tools.\(index).name: should match '^[a-zA-Z0-9_-]{1,128}$'")
            }
            guard names.insert(name).inserted else { throw APIError.invalid("tools: Tool names must be unique") }
            guard let schema = tool["input_schema"], schema["type"] == "object" else {
                throw APIError.invalid("tools.\(index).input_schema.type: must be 'object'")
            }
            if tool["strict"]?.isTrue ?? false { try StrictSchema(path: "tools.\(index).input_schema").check(schema) }
        }
        if let schema = call.json["output_config"]?["format"]?["schema"] {
            try StrictSchema(path: "output_config.format.schema").check(schema)
        }
        if let choice = call.json["tool_choice"]?["type"]?.string, choice == "any" || choice == "tool",
            call.model.hasSuffix("-5-5")
        {
            throw APIError.invalid("tool_choice: \(call.model) does not support forced tool use")
        }
    }

    private func checkThinking(_ call: Call, _ handedOut: HandedOut) throws {
        if let thinking = call.json["thinking"] {
            let type = thinking["type"]?.string ?? ""
            guard ["adaptive", "enabled", "disabled", "between_tools"].contains(type) else {
                throw APIError.invalid("thinking.type: unknown '\(type)'")
            }
            if type == "enabled", !(1024..<call.maxTokens).contains(thinking["budget_tokens"]?.integer ?? 0) {
                throw APIError.invalid("thinking.budget_tokens: must be at least 1024 and less than max_tokens")
            }
        }
        for (index, message) in call.messages.enumerated() {
            for (number, block) in message.content.enumerated() where HandedOut.isThinking(block) {
                guard message.role == "assistant", handedOut.contains(block, in: call) else {
                    throw APIError.invalid(
                        "messages.\(index).content.\(number): a thinking block is not as it was handed out in this conversation")
                }
            }
        }
        if let last = call.messages.last, last.role == "assistant", !handedOut.contains(.array(last.content), in: call) {
            throw APIError.invalid(
                "This model does not support assistant message prefill. The conversation must end with a user message.")
        }
    }

    private func checkBreakpoints(_ call: Call) throws {
        let blocks = call.tools + call.system + call.messages.flatMap(\.content)
        let marked = blocks.filter { ($0["cache_control"] ?? .null) != .null }
        if marked.contains(where: HandedOut.isThinking) {
            throw APIError.invalid("cache_control cannot be set on thinking blocks")
        }
        let count = marked.count + ((call.json["cache_control"] ?? .null) == .null ? 0 : 1)
        guard count <= 4 else {
            throw APIError.invalid("A maximum of 4 blocks with cache_control may be provided. Found \(count).")
        }
    }
}

/// The part of JSON Schema that the API can guarantee for what it generates.
private struct StrictSchema {
    var path: String
    private static let unsupported = ["minimum", "maximum", "multipleOf", "minLength", "maxLength", "maxItems", "uniqueItems"]

    func check(_ schema: JSON) throws {
        for name in Self.unsupported where schema[name] != nil {
            throw APIError.invalid("\(path): '\(name)' is not supported in strict schemas")
        }
        if let least = schema["minItems"]?.integer, least > 1 {
            throw APIError.invalid("\(path): 'minItems' above 1 is not supported in strict schemas")
        }
        if schema["type"] == "object", schema["additionalProperties"] != .bool(false) {
            throw APIError.invalid("\(path): 'additionalProperties' must be false in strict schemas")
        }
        for property in schema["properties"]?.members ?? [] {
            try StrictSchema(path: "\(path).properties.\(property.name)").check(property.value)
        }
        if let items = schema["items"] { try StrictSchema(path: "\(path).items").check(items) }
    }
}
