/// A message as the events of a stream.
enum EventStream {
    static let ping = event(["type": "ping"])

    static func event(_ data: JSON) -> [UInt8] {
        Array("event: \(data["type"]?.string ?? "")\ndata: ".utf8) + data.bytes + Array("\n\n".utf8)
    }

    /// - Parameters:
    ///   - message: whole, as it is answered when no stream is asked for.
    static func events(of message: JSON) -> [[UInt8]] {
        let usage = message["usage"] ?? [:]
        let opening = message.with("content", []).with("stop_reason", nil).with("usage", usage.with("output_tokens", 1))
        var events = [event(["type": "message_start", "message": opening])]
        for (index, block) in (message["content"]?.array ?? []).enumerated() {
            let number = JSON.integer(index)
            events.append(event(["type": "content_block_start", "index": number, "content_block": start(of: block)]))
            if index == 0 { events.append(ping) }
            for delta in deltas(of: block) {
                events.append(event(["type": "content_block_delta", "index": number, "delta": delta]))
            }
            events.append(event(["type": "content_block_stop", "index": number]))
        }
        let ending: JSON = ["stop_reason": message["stop_reason"] ?? nil, "stop_sequence": message["stop_sequence"] ?? nil]
        events.append(event(["type": "message_delta", "delta": ending, "usage": usage]))
        events.append(event(["type": "message_stop"]))
        return events
    }

    private static func start(of block: JSON) -> JSON {
        switch block["type"] {
        case "text": block.with("text", "")
        case "tool_use": block.with("input", [:])
        case "thinking": block.with("thinking", "").with("signature", "")
        default: block
        }
    }

    private static func deltas(of block: JSON) -> [JSON] {
        switch block["type"] {
        case "text": return pieces(of: block["text"]).map { ["type": "text_delta", "text": .string($0)] }
        case "tool_use":
            // Input that is no JSON is in the message as the text that it is.
            let input = block["input"].map { $0.string ?? String(decoding: $0.bytes, as: UTF8.self) }
            return ([""] + pieces(of: .string(input ?? "{}"))).map { ["type": "input_json_delta", "partial_json": .string($0)] }
        case "thinking":
            return pieces(of: block["thinking"]).map { ["type": "thinking_delta", "thinking": .string($0)] }
                + [["type": "signature_delta", "signature": block["signature"] ?? ""]]
        default: return []
        }
    }

    /// A text in pieces of about 64 bytes, larger where there would be more than some thousands; no character is divided.
    private static func pieces(of text: JSON?) -> [String] {
        let bytes = Array((text?.string ?? "").utf8)
        let size = max(64, bytes.count / 8192)
        var pieces: [String] = []
        var start = 0
        while start < bytes.count {
            var end = min(start + size, bytes.count)
            while end < bytes.count && bytes[end] & 0xC0 == 0x80 { end -= 1 }
            pieces.append(String(decoding: bytes[start..<end], as: UTF8.self))
            start = end
        }
        return pieces
    }
}
