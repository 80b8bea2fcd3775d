import Synchronization

/// What was answered and has to come back as it was: thinking blocks, and whole turns that were paused.
final class HandedOut: Sendable {
    private let known = Mutex<Set<Int>>([])

    static func isThinking(_ block: JSON) -> Bool { block["type"] == "thinking" || block["type"] == "redacted_thinking" }

    func remember(_ content: [JSON], stopReason: String, in call: Call) {
        var values = content.filter(Self.isThinking)
        if stopReason == "pause_turn" { values.append(.array(content)) }
        known.withLock { $0.formUnion(values.map { digest($0, in: call) }) }
    }

    /// Whether a thinking block, or the content of a whole turn, was handed out in this conversation.
    func contains(_ value: JSON, in call: Call) -> Bool {
        known.withLock { $0.contains(digest(value, in: call)) }
    }

    /// A conversation is known by its model and its first message.
    private func digest(_ value: JSON, in call: Call) -> Int {
        var hasher = Hasher()
        hasher.combine(call.model)
        hasher.combine(call.firstMessage)
        let plain = value.array.map { JSON.array($0.map { $0.without("cache_control") }) } ?? value
        hasher.combine(plain.sorted.bytes)
        return hasher.finalize()
    }
}
