import AutonKit
import AutonModel

/// Writes requests so that equal beginnings are equal bytes, which is what the provider's prompt cache asks for.
///
/// A conversation grows at its end, so each message is encoded once and kept; only what is new costs time.
struct RequestEncoder {
    private let settings: HTTPSettings
    /// The names under which the configured model has answered; a server may tell the alias from the dated name.
    private var names: Set<String>
    private var system: String?
    private var tools: [Tool]?
    /// Tools and system prompt.
    private var constants: [UInt8] = []
    /// The messages that are encoded, one after another without cache breakpoints, and where each ends.
    private var messages: [ChatMessage] = []
    private var bytes: [UInt8] = []
    private var ends: [Int] = []

    private static let breakpoint = Array(#","cache_control":{"type":"ephemeral"}"#.utf8)

    init(_ settings: HTTPSettings) {
        self.settings = settings
        names = [settings.model]
    }

    /// Learns who answered: the thinking of that model is ours to send back.
    mutating func answered(by model: String) { names.insert(model) }

    mutating func body(for request: MessagesRequest) throws -> [UInt8] {
        if system != request.system || tools != request.tools {
            constants = try encodeConstants(request)
            (system, tools) = (request.system, request.tools)
        }
        try update(request.messages)
        var body: [UInt8] = []
        body.reserveCapacity(bytes.count + constants.count + messages.count + 512)
        body += Array(#"{"model":"#.utf8) + (try CompactJSON.encode(settings.model))
        body += Array(#","max_tokens":\#(request.maxTokens),"stream":\#(settings.stream)"#.utf8)
        if let thinking = settings.thinking { body += Array(#","thinking":{"type":"\#(thinking.rawValue)"}"#.utf8) }
        if let effort = settings.effort {
            body += Array(#","output_config":{"effort":"#.utf8) + (try CompactJSON.encode(effort)) + Array("}".utf8)
        }
        body += constants
        body += Array(#","messages":["#.utf8)
        appendMessages(to: &body)
        body += Array("]}".utf8)
        return body
    }

    private func encodeConstants(_ request: MessagesRequest) throws -> [UInt8] {
        var out: [UInt8] = []
        let mark = settings.caching ? Self.breakpoint : []
        if !request.tools.isEmpty {
            let tools = try request.tools.map { try Array(encode($0).dropLast()) }
            out += Array(#","tools":["#.utf8) + tools.joined(separator: "},".utf8) + mark + Array("}]".utf8)
        }
        if !request.system.isEmpty {
            out += Array(#","system":[{"type":"text","text":"#.utf8) + (try CompactJSON.encode(request.system)) + mark
            out += Array("}]".utf8)
        }
        return out
    }

    private func encode(_ tool: Tool) throws -> [UInt8] {
        guard settings.strictTools, let schema = StrictSchema.of(tool.inputSchema) else { return try CompactJSON.encode(tool) }
        let strict = Tool(name: tool.name, description: tool.description, inputSchema: schema)
        return try CompactJSON.encode(strict).dropLast() + Array(#","strict":true}"#.utf8)
    }

    /// Encodes what is not the same as the last time.
    private mutating func update(_ wanted: [ChatMessage]) throws {
        // Strings and arrays that share their storage, as those of a conversation do, are compared by address.
        let same = zip(messages, wanted).prefix { $0 == $1 }.count
        messages.removeSubrange(same...)
        ends.removeSubrange(same...)
        bytes.removeSubrange((ends.last ?? 0)...)
        for message in wanted[same...] {
            let encoded = try encode(message)
            // Taken up only when whole.
            bytes += encoded
            messages.append(message)
            ends.append(bytes.count)
        }
    }

    /// A message, empty if nothing of it goes on the wire: the API takes no empty text and no message without content.
    private func encode(_ message: ChatMessage) throws -> [UInt8] {
        let blocks = message.content.filter { goesOut($0, of: message.model) }
        if blocks.isEmpty { return [] }
        var out = Array(#"{"role":"\#(message.role.rawValue)","content":["#.utf8)
        for (index, block) in blocks.enumerated() {
            if index > 0 { out.append(UInt8(ascii: ",")) }
            out += try CompactJSON.encode(Self.sendable(block))
        }
        return out + Array("]}".utf8)
    }

    private func goesOut(_ block: ContentBlock, of model: String?) -> Bool {
        switch block {
        case .text(let text): !text.allSatisfy(\.isWhitespace)
        case .other(let value) where value["type"] == "thinking" || value["type"] == "redacted_thinking":
            model.map { names.contains($0) || $0.hasPrefix(settings.model + "-") } ?? true
        default: true
        }
    }

    /// What was no object when it came is sent back as one: the API takes nothing else for a call's input.
    private static func sendable(_ block: ContentBlock) throws -> ContentBlock {
        guard case .toolUse(var use) = block else { return block }
        switch use.input {
        case .object: return block
        case .string: use.input = ["malformed": use.input]
        default: use.input = ["malformed": .string(String(decoding: try CompactJSON.encode(use.input), as: UTF8.self))]
        }
        return .toolUse(use)
    }

    /// The messages, with breakpoints on the last blocks of the two newest that the user wrote: the newest is read
    /// from the cache next time, the one before it was written there last time.
    private func appendMessages(to body: inout [UInt8]) {
        let sent = messages.indices.filter { start(of: $0) < ends[$0] }
        let marked = settings.caching ? sent.filter { messages[$0].role == .user }.suffix(2) : []
        for index in sent {
            if index != sent.first { body.append(UInt8(ascii: ",")) }
            // `}]}` ends the last block, the content and the message.
            let inside = ends[index] - 3
            body += bytes[start(of: index)..<inside]
            if marked.contains(index) { body += Self.breakpoint }
            body += bytes[inside..<ends[index]]
        }
    }

    private func start(of index: Int) -> Int { index == 0 ? 0 : ends[index - 1] }
}
