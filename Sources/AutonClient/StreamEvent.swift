import AutonModel

/// The data of one event of a Messages stream: the fields that any of its types has.
struct StreamEvent: Decodable {
    /// A piece of a block, or of the message's end.
    struct Delta: Decodable {
        var type: String?
        var text: String?
        var partialJSON: String?
        var thinking: String?
        var signature: String?
        var stopReason: String?

        enum CodingKeys: String, CodingKey {
            case type, text, thinking, signature
            case partialJSON = "partial_json"
            case stopReason = "stop_reason"
        }
    }

    /// The types that count; all others are pings or not known to us.
    static let names: Set<String> = [
        "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop",
        "error",
    ]

    var type: String?
    var index: Int?
    var message: JSONValue?
    var contentBlock: JSONValue?
    var delta: Delta?
    var usage: JSONValue?
    var error: JSONValue?

    enum CodingKeys: String, CodingKey {
        case type, index, message, delta, usage, error
        case contentBlock = "content_block"
    }
}
