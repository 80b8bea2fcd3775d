import AutonKit
import AutonModel
import AutonSettings

/// Writes requests so that equal beginnings are equal bytes, which is what the provider's prompt cache asks for.
///
/// A conversation grows at its end: the bytes of the request before are kept, and only those that are new are made.
struct RequestEncoder {
    private let settings: Settings.Model
    /// The names under which the configured model has answered: a server may tell the dated name for an alias.
    private var names: Set<String>
    /// The request as it was written last.
    private var bytes: [UInt8] = []
    /// What it begins with: all but the messages.
    private var opening: [UInt8] = []
    private var constants: MessagesRequest?
    /// The messages in it, and where each ends when there are no breakpoints.
    private var messages: [ChatMessage] = []
    private var ends: [Int] = []
    /// Where there are breakpoints, in the same count.
    private var marks: [Int] = []

    private static let breakpoint = Array(#","cache_control":{"type":"ephemeral"}"#.utf8)
    private static let closing = Array("]}".utf8)

    init(_ settings: Settings.Model) {
        self.settings = settings
        names = [settings.name]
    }

    /// Learns who answered: the thinking of that model is ours to send back.
    mutating func answered(by model: String) { names.insert(model) }

    /// The body of a request. Whoever keeps it makes the next one cost a copy.
    mutating func body(for request: MessagesRequest) throws -> [UInt8] {
        reopen()
        var constants = request
        constants.messages = []
        if constants != self.constants {
            opening = try encodeOpening(request)
            self.constants = constants
            (bytes, messages, ends) = (opening, [], [])
        }
        try update(request.messages)
        close()
        return bytes
    }

    /// Takes back what `close` has added.
    private mutating func reopen() {
        bytes.removeLast(min(bytes.count, Self.closing.count))
        for mark in marks { bytes.removeSubrange(mark..<mark + Self.breakpoint.count) }
        marks = []
    }

    /// Sets breakpoints on the last blocks of the two newest messages that the user wrote: the newest is read from the
    /// cache next time, the one before it was written there last time.
    private mutating func close() {
        if settings.caching {
            let sent = messages.indices.filter { messages[$0].role == .user && start(of: $0) < ends[$0] }
            // Before `}]}`, which ends the block, the content and the message.
            marks = sent.suffix(2).map { ends[$0] - 3 }
            for mark in marks.reversed() { bytes.insert(contentsOf: Self.breakpoint, at: mark) }
        }
        bytes += Self.closing
    }

    private func start(of index: Int) -> Int { index == 0 ? opening.count : ends[index - 1] }

    private func encodeOpening(_ request: MessagesRequest) throws -> [UInt8] {
        let mark = settings.caching ? Self.breakpoint : []
        var out = Array(#"{"model":"#.utf8) + (try CompactJSON.encode(settings.name))
        out += Array(#","max_tokens":\#(request.maxTokens),"stream":\#(settings.stream)"#.utf8)
        if let thinking = settings.thinking { out += Array(#","thinking":{"type":"\#(thinking.rawValue)"}"#.utf8) }
        if let effort = settings.effort {
            out += Array(#","output_config":{"effort":"#.utf8) + (try CompactJSON.encode(effort.rawValue)) + Array("}".utf8)
        }
        if !request.tools.isEmpty {
            let tools = try request.tools.map { try Array(encode($0).dropLast()) }
            out += Array(#","tools":["#.utf8) + tools.joined(separator: "},".utf8) + mark + Array("}]".utf8)
        }
        if !request.system.isEmpty {
            out += Array(#","system":[{"type":"text","text":"#.utf8) + (try CompactJSON.encode(request.system)) + mark
            out += Array("}]".utf8)
        }
        return out + Array(#","messages":["#.utf8)
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
        bytes.removeSubrange((ends.last ?? opening.count)...)
        for message in wanted[same...] {
            let encoded = try encode(message)
            if !encoded.isEmpty && bytes.count > opening.count { bytes.append(UInt8(ascii: ",")) }
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
            model.map { names.contains($0) || $0.hasPrefix(settings.name + "-") } ?? true
        default: true
        }
    }

    /// What was no object when it came is sent back in one: the API takes nothing else for a call's input.
    private static func sendable(_ block: ContentBlock) throws -> ContentBlock {
        guard case .toolUse(var use) = block else { return block }
        switch use.input {
        case .object: return block
        case .string: use.input = ["malformed": use.input]
        default: use.input = ["malformed": .string(String(decoding: try CompactJSON.encode(use.input), as: UTF8.self))]
        }
        return .toolUse(use)
    }
}
