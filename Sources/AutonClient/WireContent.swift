import AutonKit
import AutonModel

/// The content of a response as servers send it, made into ours.
enum WireContent {
    /// - Parameters:
    ///   - value: an array of blocks; other servers also send a string, or nothing.
    ///   - turn: names the calls of a server that does not.
    static func blocks(_ value: JSONValue?, at turn: Turn) throws(Failure) -> [ContentBlock] {
        switch value {
        case nil, .null: return []
        case .string(let text): return [.text(text)]
        case .array(let items):
            var blocks: [ContentBlock] = []
            for (index, item) in items.enumerated() { blocks.append(try block(item, index: index, at: turn)) }
            return blocks
        default: throw .malformed("content that is no array")
        }
    }

    /// A response that came in one piece.
    static func response(_ value: JSONValue, at turn: Turn) throws(Failure) -> MessagesResponse {
        var usage = MessagesResponse.Usage(inputTokens: 0, outputTokens: 0)
        usage.update(value["usage"])
        return MessagesResponse(
            id: value["id"]?.string ?? "", model: value["model"]?.string ?? "",
            content: try blocks(value["content"], at: turn), stopReason: value["stop_reason"]?.string ?? "", usage: usage
        ).mended
    }

    /// One block; what we do not interpret is kept as it is.
    static func block(_ value: JSONValue, index: Int, at turn: Turn) throws(Failure) -> ContentBlock {
        switch value["type"]?.string {
        case "text": return .text(value["text"]?.string ?? "")
        case "tool_use":
            let id = value["id"]?.string.flatMap { $0.isEmpty ? nil : $0 } ?? "call_\(turn.number)_\(index + 1)"
            return .toolUse(ToolUse(id: id, name: value["name"]?.string ?? "", input: input(value["input"])))
        case nil: throw .malformed("a block without a type")
        default: return .other(value)
        }
    }

    /// Some servers send the input as JSON in a string.
    private static func input(_ value: JSONValue?) -> JSONValue {
        switch value {
        case nil, .null: [:]
        case .string(let text): input(text)
        case let value?: value
        }
    }

    /// A call's input from its text: `{}` if there is none. What is no JSON stays a string, which no tool takes.
    static func input(_ text: String) -> JSONValue {
        if text.allSatisfy(\.isWhitespace) { return [:] }
        return (try? CompactJSON.decode(JSONValue.self, from: Array(text.utf8), at: "")) ?? .string(text)
    }
}

extension MessagesResponse {
    /// With a stop reason where the server names none, and an id of its own for every call, without which no result can be
    /// told apart.
    var mended: MessagesResponse {
        var mended = self
        var ids: Set<String> = []
        for (index, block) in content.enumerated() {
            guard case .toolUse(var use) = block, !ids.insert(use.id).inserted else { continue }
            use.id = "\(use.id)_\(index + 1)"
            ids.insert(use.id)
            mended.content[index] = .toolUse(use)
        }
        if stopReason.isEmpty { mended.stopReason = toolUses.isEmpty ? "end_turn" : "tool_use" }
        return mended
    }
}

extension MessagesResponse.Usage {
    /// Takes over the counts that are there; they are totals, not increments. What a server leaves out counts nothing.
    mutating func update(_ usage: JSONValue?) {
        // Nonsense must not make sums overflow.
        func count(_ key: CodingKeys) -> Int? { usage?[key.rawValue]?.integer.map { min(max($0, 0), 1 << 40) } }
        inputTokens = count(.inputTokens) ?? inputTokens
        outputTokens = count(.outputTokens) ?? outputTokens
        cacheCreationInputTokens = count(.cacheCreationInputTokens) ?? cacheCreationInputTokens
        cacheReadInputTokens = count(.cacheReadInputTokens) ?? cacheReadInputTokens
    }
}
