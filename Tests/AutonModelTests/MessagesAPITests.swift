import AutonMessages
import Testing

@testable import AutonModel

@Suite struct MessagesAPITests {
    private func recoded<T: Codable>(_ type: T.Type, _ text: String) throws -> String {
        String(decoding: try CompactJSON.encode(CompactJSON.decode(type, from: Array(text.utf8), at: "test")), as: UTF8.self)
    }

    @Test func aResponseIsReadAsTheAPISendsIt() throws {
        let text = """
            {"id":"msg_1","type":"message","role":"assistant","model":"claude-x","stop_sequence":null,"stop_reason":"tool_use",
            "content":[{"type":"thinking","thinking":"hm","signature":"sig"},{"type":"text","text":"I list."},
            {"type":"tool_use","id":"t1","name":"list","input":{"path":"boot"}}],
            "usage":{"input_tokens":3,"output_tokens":5,"cache_creation_input_tokens":7,"cache_read_input_tokens":null,"service_tier":"x"}}
            """
        let response = try CompactJSON.decode(MessagesResponse.self, from: Array(text.utf8), at: "test")
        #expect(response.text == "I list.")
        #expect(response.toolUses == [ToolUse(id: "t1", name: "list", input: ["path": "boot"])])
        #expect(response.usage.tokens == TokenUsage(input: 3, cacheCreation: 7, cacheRead: 0, output: 5))
        // The API wants a block that we do not know back as it was.
        #expect(response.content[0] == .other(["type": "thinking", "thinking": "hm", "signature": "sig"]))
    }

    @Test(arguments: [
        #"{"text":"hi","type":"text"}"#, #"{"id":"t","input":{"a":[1]},"name":"n","type":"tool_use"}"#,
        #"{"content":"x","is_error":true,"tool_use_id":"t","type":"tool_result"}"#,
        #"{"data":"abc","type":"redacted_thinking"}"#,
    ])
    func blocksAreWrittenAsTheyWereRead(_ text: String) throws {
        #expect(try recoded(ContentBlock.self, text) == text)
    }

    @Test func aRequestIsWrittenAsTheAPIWantsIt() throws {
        let request = MessagesRequest(
            model: "m", maxTokens: 9, system: "s", tools: [Tool(name: "t", description: "d", inputSchema: ["type": "object"])],
            messages: [.user("hi")])
        #expect(
            try String(decoding: CompactJSON.encode(request), as: UTF8.self)
                == #"{"max_tokens":9,"messages":[{"content":[{"text":"hi","type":"text"}],"role":"user"}],"model":"m","system":"s","#
                + #""tools":[{"description":"d","input_schema":{"type":"object"},"name":"t"}]}"#)
    }

    @Test func newsIsWhatFollowsTheModelsLastTurn() {
        let said = ChatMessage(role: .assistant, content: [.text("x")])
        func news(_ messages: [ChatMessage]) -> [ChatMessage] {
            MessagesRequest(model: "m", maxTokens: 1, system: "", tools: [], messages: messages).news
        }
        #expect(news([.user("a")]) == [.user("a")])
        #expect(news([.user("a"), said, .user("b"), said, .user("c"), .user("d")]) == [.user("c"), .user("d")])
        #expect(news([.user("a"), said]) == [])
    }
}
