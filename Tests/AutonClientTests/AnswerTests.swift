import AutonKit
import AutonSettings
import TestSupport
import Testing

@testable import AutonClient
@testable import AutonModel

/// What is answered, streamed and not, by a server of flesh and blood.
@Suite struct AnswerTests {
    private static let blocks: JSONValue = [
        ["type": "thinking", "thinking": "Let me see.", "signature": "c2ln"], ["type": "redacted_thinking", "data": "b3BhcXVl"],
        ["type": "text", "text": "I list… 🙂"], ["type": "hologram", "shape": ["sides": 7]],
        ["type": "tool_use", "id": "toolu_1", "name": "list", "input": ["path": "a/“b”", "deep": [1, .null, .number(0.5)]]],
    ]

    @Test(arguments: [true, false])
    func allBlocksArrive(stream: Bool) async throws {
        let fake = try FakeModel(script: [["response": ["content": Self.blocks, "stop_reason": "tool_use"]]])
        let response = try await Talk(fake.url) { $0.stream = stream }.ask()
        #expect(
            response.content == [
                .other(["type": "thinking", "thinking": "Let me see.", "signature": "c2ln"]),
                .other(["type": "redacted_thinking", "data": "b3BhcXVl"]), .text("I list… 🙂"),
                .other(["type": "hologram", "shape": ["sides": 7]]),
                .toolUse(ToolUse(id: "toolu_1", name: "list", input: ["path": "a/“b”", "deep": [1, .null, .number(0.5)]])),
            ])
        #expect(response.stopReason == "tool_use" && response.model == "claude-fake-1" && response.role == .assistant)
        let logged = try await fake.log()[0]["usage"]
        #expect(response.usage.inputTokens == logged?["input_tokens"]?.integer)
        #expect(response.usage.outputTokens == logged?["output_tokens"]?.integer)
        #expect(response.usage.cacheCreationInputTokens == logged?["cache_creation_input_tokens"]?.integer)
    }

    /// Events and blocks that nobody knows, comments, pings and odd line ends between all others.
    @Test(arguments: [1, 7, 100_000])
    func noiseInTheStreamChangesNothing(chunk: Int) async throws {
        let noise =
            ": keep\r\n\revent: news\ndata: no json\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\ndata: {\"type\":\"later\"}\r\n\r\n"
        let step: [String: JSONValue] = [
            "response": ["content": Self.blocks], "extra": .string(noise), "chunk": .integer(chunk),
        ]
        let fake = try FakeModel(script: [["response": ["content": Self.blocks]], .object(step)])
        let talk = try Talk(fake.url)
        let plain = try await talk.ask(), noisy = try await talk.ask()
        #expect(plain.content == noisy.content && plain.stopReason == noisy.stopReason)
    }

    @Test(arguments: [true, false])
    func fiveMegabytesArrive(stream: Bool) async throws {
        let fake = try FakeModel(script: [["text_bytes": 5_000_000]])
        let response = try await Talk(fake.url) { $0.stream = stream }.ask()
        #expect(response.text.utf8.count == 5_000_000)
    }

    @Test(arguments: [true, false])
    func inputThatIsNoJSONArrivesAsItIs(stream: Bool) async throws {
        let call: JSONValue = ["type": "tool_use", "id": "t", "name": "list", "input_text": "{\"path\": \"a"]
        let fake = try FakeModel(script: [["response": ["content": [call]]]])
        let response = try await Talk(fake.url) { $0.stream = stream }.ask()
        #expect(response.toolUses == [ToolUse(id: "t", name: "list", input: "{\"path\": \"a")])
    }

    /// A server that does not stream answers in one piece; and the other way round.
    @Test(arguments: [
        (
            true, "application/json",
            #"{"id":"m","content":[{"type":"text","text":"ho"}],"stop_reason":null,"usage":{"input_tokens":2}}"#
        ),
        (true, "application/json; charset=utf-8", #"{"content":"ho"}"#),
        (true, "", #"{"content":"ho"}"#),
        (
            false, "text/event-stream",
            "data: {\"type\":\"content_block_start\",\"content_block\":{\"type\":\"text\",\"text\":\"ho\"}}\n\ndata: {\"type\":\"message_stop\"}\n\n"
        ),
    ])
    func theContentTypeDecides(stream: Bool, type: String, body: String) async throws {
        let fake = try FakeModel(script: [["raw": .string(body), "content_type": .string(type)]])
        let response = try await Talk(fake.url) { $0.stream = stream }.ask()
        #expect(response.content == [.text("ho")] && response.stopReason == "end_turn")
    }

    @Test func oneConnectionIsUsedAgain() async throws {
        let fake = try FakeModel(script: [["status": 529, "headers": ["retry-after-ms": "1"]]])
        let talk = try Talk(fake.url)
        for turn in 1...3 { _ = try await talk.ask(turn: turn) }
        let log = try await fake.log()
        #expect(log.count == 4 && Set(log.map { $0["connection"] }).count == 1)
    }

    @Test func aStreamThatIsNotEndedIsNotWaitedForLong() async throws {
        let fake = try FakeModel(script: [["fault": "stall", "after": 1000]])
        let start = ContinuousClock.now
        #expect(try await Talk(fake.url).ask().text == "done")
        #expect(.now - start < .seconds(60))
    }

    /// What the API would refuse, the fake refuses.
    @Test func aConversationIsToTheAPIsLiking() async throws {
        let fake = try FakeModel(
            script: [["response": ["content": Self.blocks, "stop_reason": "tool_use"]]], "--key", Talk.key, "--cache-minimum", "1"
        )
        let transport = try Talk(fake.url) {
            $0.thinking = .adaptive
            $0.effort = .high
            $0.strictTools = true
        }.transport
        let tools = [Tool(name: "list", description: "List.", inputSchema: ["type": "object", "additionalProperties": false])]
        var messages: [ChatMessage] = [.user("go")]
        for turn in 1...3 {
            let request = MessagesRequest(model: "m", maxTokens: 100, system: "You build.", tools: tools, messages: messages)
            let response = try await transport.respond(to: request, at: Turn(conversation: "c", number: turn))
            messages.append(ChatMessage(role: .assistant, content: response.content, model: response.model))
            let results = response.toolUses.map { ToolResult(toolUseID: $0.id, content: "ok", isError: false) }
            messages.append(ChatMessage(role: .user, content: results.map { .toolResult($0) } + [.text("Go on.")]))
        }
        let log = try await fake.log()
        #expect(log.map { $0["status"]?.integer } == [200, 200, 200])
        #expect(log.allSatisfy { $0["headers"]?["authorization"] == "right" && $0["path"] == "/v1/messages" })
        // All but what is new comes from the cache.
        #expect(log.dropFirst().allSatisfy { ($0["usage"]?["cache_read_input_tokens"]?.integer ?? 0) > 0 })
    }

    /// A server with less: no key, no cache, no version.
    @Test(arguments: [true, false])
    func aServerThatSpeaksASubsetIsTalkedTo(stream: Bool) async throws {
        let fake = try FakeModel(script: [["response": ["content": Self.blocks]]], "--subset")
        let talk = try Talk(fake.url + "/v1/") {
            ($0.stream, $0.auth, $0.caching) = (stream, .none, false)
        }
        let response = try await talk.ask()
        #expect(response.toolUses.count == 1 && response.usage.cacheReadInputTokens == nil && response.usage.inputTokens > 0)
        let headers = try await fake.log()[0]["headers"]
        #expect(headers?["authorization"] == nil && headers?["x-api-key"] == nil && headers?["expect"] == nil)
        #expect(headers?["user-agent"] == "auton" && headers?["anthropic-version"] == "2026-10-21")
    }
}
