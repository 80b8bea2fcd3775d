import AutonKit
import AutonModel

/// Puts a response together from the events of its stream, in time linear in their bytes.
struct ResponseAssembler {
    private let turn: Turn
    private var response = MessagesResponse(
        id: "", model: "", content: [], stopReason: "", usage: MessagesResponse.Usage(inputTokens: 0, outputTokens: 0))
    /// In the order in which they began; nil for those that have not ended.
    private var blocks: [ContentBlock?] = []
    /// Those that have not ended, by the server's index.
    private var open: [Int: OpenBlock] = [:]
    /// Whether the end has told what came out. The beginning tells only what went in.
    private var hasTotals = false
    /// Whether `message_stop` has come; there is no response before it.
    private(set) var isComplete = false

    init(turn: Turn) { self.turn = turn }

    /// - Parameter event: the type that the stream gives it; empty if it leaves that to the data.
    /// - Returns: whether it was a part of the answer: no ping, nothing that we do not know.
    /// - Throws: what an error event says, or that the data is malformed.
    mutating func take(_ event: String, _ data: [UInt8]) throws(Failure) -> Bool {
        // Streams of another API end with a word that is no JSON.
        if !event.isEmpty && !StreamEvent.names.contains(event) || data.elementsEqual("[DONE]".utf8) { return false }
        guard let body = try? CompactJSON.decode(StreamEvent.self, from: data, at: "") else {
            throw .malformed("an event that is no JSON of its kind")
        }
        switch body.type ?? event {
        case "message_start":
            response.id = body.message?["id"]?.string ?? ""
            response.model = body.message?["model"]?.string ?? ""
            blocks = try WireContent.blocks(body.message?["content"], at: turn)
            response.usage.update(body.message?["usage"])
        case "content_block_start":
            open[body.index ?? blocks.count] = OpenBlock(place: blocks.count, start: body.contentBlock ?? .null)
            blocks.append(nil)
        case "content_block_delta":
            let index = body.index ?? blocks.count - 1
            guard open[index]?.take(body.delta) != nil else { throw .malformed("a piece of a block that is not open") }
        case "content_block_stop":
            if let block = open.removeValue(forKey: body.index ?? blocks.count - 1) { try end(block) }
        case "message_delta":
            response.stopReason = body.delta?.stopReason ?? response.stopReason
            response.usage.update(body.usage)
            hasTotals = hasTotals || body.usage?["output_tokens"] != nil
        case "message_stop":
            for block in open.values { try end(block) }
            isComplete = true
        case "error":
            throw Failure(body.error.flatMap { APIError(["error": $0]) } ?? APIError(message: "an error without a message"))
        default: return false
        }
        return true
    }

    private mutating func end(_ block: OpenBlock) throws(Failure) {
        blocks[block.place] = try WireContent.block(block.value, index: block.place, at: turn)
    }

    /// The response, once it is complete.
    var whole: MessagesResponse? {
        if !isComplete { return nil }
        var whole = response
        whole.content = blocks.compactMap { $0 }
        // Half of the usage is none: whoever pays by it takes the worst case.
        if !hasTotals { whole.usage = MessagesResponse.Usage(inputTokens: 0, outputTokens: 0) }
        return whole.mended
    }
}

/// A block that is being received: as it began, and what its pieces add.
private struct OpenBlock {
    /// Where it belongs among the blocks.
    let place: Int
    let start: JSONValue
    private var added: [String: String] = [:]
    private var input: String?

    init(place: Int, start: JSONValue) {
        self.place = place
        self.start = start
    }

    mutating func take(_ delta: StreamEvent.Delta?) {
        switch delta?.type {
        case "text_delta": added["text", default: ""] += delta?.text ?? ""
        case "thinking_delta": added["thinking", default: ""] += delta?.thinking ?? ""
        case "signature_delta": added["signature", default: ""] += delta?.signature ?? ""
        case "input_json_delta": input = (input ?? "") + (delta?.partialJSON ?? "")
        default: break
        }
    }

    /// The whole block, as a server that does not stream would have sent it.
    var value: JSONValue {
        guard case .object(var members) = start else { return start }
        for (name, text) in added { members[name] = .string((members[name]?.string ?? "") + text) }
        if let input, !input.isEmpty { members["input"] = WireContent.input(input) }
        return .object(members)
    }
}
