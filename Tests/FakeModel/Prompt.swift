/// A request's prompt as the cache sees it: tools, system, messages, block by block.
struct Prompt {
    /// How long a cache entry lives that a breakpoint writes.
    enum Lifetime: Double {
        case fiveMinutes = 300
        case hour = 3600
    }

    struct Block {
        /// Of the prompt up to the block's end: its length, and a digest of its bytes.
        var tokens: Int
        var digest: Int
        var breakpoint: Lifetime?
    }

    private(set) var blocks: [Block] = []
    private var bytes = 0
    private var hasher = Hasher()

    init(of call: Call) {
        // The caches of two models are two.
        hasher.combine(call.model)
        for tool in call.tools { append(tool) }
        for block in call.system { append(block) }
        // What a change of these leaves valid are the tools and the system prompt.
        hasher.combine(bytes: call.json["tool_choice"]?.bytes ?? [])
        hasher.combine(bytes: call.json["thinking"]?.bytes ?? [])
        for message in call.messages {
            hasher.combine(message.role)
            for block in message.content { append(block) }
        }
        if let control = call.json["cache_control"], control != .null, !blocks.isEmpty {
            blocks[blocks.count - 1].breakpoint = Self.lifetime(control)
        }
    }

    var tokens: Int { blocks.last?.tokens ?? 0 }

    private mutating func append(_ block: JSON) {
        let content = block.without("cache_control").bytes
        bytes += content.count
        content.withUnsafeBytes { hasher.combine(bytes: $0) }
        let control = block["cache_control"].flatMap { $0 == .null ? nil : Self.lifetime($0) }
        let soFar = hasher
        blocks.append(Block(tokens: bytes / 4, digest: soFar.finalize(), breakpoint: control))
    }

    private static func lifetime(_ control: JSON) -> Lifetime { control["ttl"] == "1h" ? .hour : .fiveMinutes }
}

extension Hasher {
    fileprivate mutating func combine(bytes: [UInt8]) {
        bytes.withUnsafeBytes { combine(bytes: $0) }
    }
}
