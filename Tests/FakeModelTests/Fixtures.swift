import AutonKit
import AutonModel
import TestSupport

/// What curl(1) made of a reply.
struct CurlReply {
    /// curl's exit status: 18 a body cut short, 28 out of time, 52 no reply at all, 56 a broken connection.
    var exit: Int32
    var status: Int
    var body: String

    /// The `data:` lines of a stream.
    var events: [JSONValue] {
        get throws {
            try body.split(separator: "\n").filter { $0.hasPrefix("data: ") }
                .map { try CompactJSON.decode(JSONValue.self, from: Array($0.dropFirst(6).utf8), at: "event") }
        }
    }

    var json: JSONValue { get throws { try CompactJSON.decode(JSONValue.self, from: Array(body.utf8), at: "body") } }

    /// The API's error message.
    var error: String { get throws { try json["error"]?["message"]?.string ?? "no error" } }
}

extension FakeModel {
    static let version = ["anthropic-version: 2026-10-21"]

    /// Posts by curl(1), `options` added to its command line.
    func post(
        _ body: JSONValue, to path: String = "/v1/messages", headers: [String] = version, options: String...
    ) async throws -> CurlReply {
        try await post(
            text: String(decoding: CompactJSON.encode(body), as: UTF8.self), to: path, headers: headers, options: options)
    }

    func post(
        text: String, to path: String = "/v1/messages", headers: [String] = version, options: [String] = []
    ) async throws -> CurlReply {
        let words = headers.flatMap { ["-H", $0] } + options
        var command = Command("curl", ["-sS", "-N", "-w", "\n%{http_code}", "--data-binary", "@-"] + words + [url + path])
        command.input = Array(text.utf8)
        command.timeLimit = 60
        let result = try await command.run()
        guard case .exited(let exit) = result.ending else { throw AutonError(.bug, "curl: \(result.ending)") }
        let lines = result.output.text.split(separator: "\n", omittingEmptySubsequences: false)
        return CurlReply(exit: exit, status: Int(lines.last ?? "") ?? 0, body: lines.dropLast().joined(separator: "\n"))
    }
}

extension JSONValue {
    /// The object with a member set.
    func with(_ name: String, _ value: JSONValue?) -> JSONValue {
        guard case .object(var members) = self else { return self }
        members[name] = value
        return .object(members)
    }
}

func json(_ value: some Encodable) throws -> JSONValue {
    try CompactJSON.decode(JSONValue.self, from: CompactJSON.encode(value), at: "value")
}

func user(_ content: JSONValue) -> JSONValue { ["role": "user", "content": content] }
func assistant(_ content: JSONValue) -> JSONValue { ["role": "assistant", "content": content] }
func text(_ text: String) -> JSONValue { ["type": "text", "text": .string(text)] }
func use(_ id: String, input: JSONValue = [:]) -> JSONValue {
    ["type": "tool_use", "id": .string(id), "name": "list", "input": input]
}
func result(_ id: String) -> JSONValue { ["type": "tool_result", "tool_use_id": .string(id), "content": "a  1"] }

func asking(_ messages: JSONValue..., streamed: Bool = false) -> JSONValue {
    ["model": "claude-opus-5-5", "max_tokens": 1000, "stream": .bool(streamed), "messages": .array(messages)]
}

func response(_ message: JSONValue) throws -> MessagesResponse {
    try CompactJSON.decode(MessagesResponse.self, from: CompactJSON.encode(message), at: "message")
}

/// The message that a stream adds up to; its usage is the last that was told.
func assembled(_ events: [JSONValue]) throws -> MessagesResponse {
    var message: JSONValue = [:], blocks: [JSONValue] = [], partial = ""
    for event in events {
        switch event["type"]?.string {
        case "message_start": message = event["message"] ?? [:]
        case "content_block_start":
            blocks.append(event["content_block"] ?? [:])
            partial = ""
        case "content_block_delta":
            let delta = event["delta"] ?? [:]
            for name in ["text", "thinking", "signature"] {
                guard let piece = delta[name]?.string else { continue }
                blocks[blocks.count - 1] = blocks[blocks.count - 1].with(
                    name, .string((blocks.last?[name]?.string ?? "") + piece))
            }
            partial += delta["partial_json"]?.string ?? ""
        case "content_block_stop" where !partial.isEmpty:
            let input = try CompactJSON.decode(JSONValue.self, from: Array(partial.utf8), at: "input")
            blocks[blocks.count - 1] = blocks[blocks.count - 1].with("input", input)
        case "message_delta":
            message = message.with("stop_reason", event["delta"]?["stop_reason"]).with("usage", event["usage"])
        default: break
        }
    }
    return try response(message.with("content", .array(blocks)))
}
