import AutonKit
import AutonSettings
import SystemPackage
import Testing

@testable import AutonClient
@testable import AutonModel

@Suite struct RequestEncoderTests {
    private let settings: Settings.Model = {
        var settings = Settings.Model()
        settings.name = "claude-x"
        return settings
    }()

    private static let tool = Tool(
        name: "read", description: "Read it.",
        inputSchema: ["type": "object", "properties": ["path": ["type": "string"], "from": ["type": "integer"]]])

    private func request(_ messages: [ChatMessage], tools: [Tool] = [tool], system: String = "You build.") -> MessagesRequest {
        MessagesRequest(model: "claude-x", maxTokens: 100, system: system, tools: tools, messages: messages)
    }

    private func result(_ text: String) -> ChatMessage {
        ChatMessage(role: .user, content: [.toolResult(ToolResult(toolUseID: "t", content: text, isError: false))])
    }

    private func call(_ input: JSONValue = ["path": "a/b"], model: String? = "claude-x") -> ChatMessage {
        ChatMessage(
            role: .assistant,
            content: [
                .other(["type": "thinking", "thinking": "hm", "signature": "s"]), .text("I read."),
                .toolUse(ToolUse(id: "t", name: "read", input: input)),
            ], model: model)
    }

    private func text(_ request: MessagesRequest, _ settings: Settings.Model? = nil) throws -> String {
        var encoder = RequestEncoder(settings ?? self.settings)
        return String(decoding: try encoder.body(for: request), as: UTF8.self)
    }

    private func messages(_ list: [ChatMessage], _ settings: Settings.Model? = nil) throws -> [JSONValue] {
        try #require(JSONValue(parsing: text(request(list), settings))["messages"]?.array)
    }

    /// The bytes are a contract: a change of them is a cache miss for every conversation under way.
    @Test func theBytesAreThoseOfTheGoldenFile() throws {
        var settings = settings
        settings.thinking = .adaptive
        settings.effort = .high
        settings.strictTools = true
        let other = Tool(
            name: "list", description: "List “it”.",
            inputSchema: [
                "type": "object", "additionalProperties": false, "properties": ["path": ["type": "string", "minLength": 1]],
            ])
        let body = try text(
            request(
                [.user("Do/it"), call(), result("one\n"), call(["from": 2, "path": "é"]), result("two")],
                tools: [other, Self.tool]),
            settings)
        let file = FilePath(#filePath).removingLastComponent().appending("Golden/request.json")
        #expect(try body == String(Files.readText(file).dropLast()))
    }

    @Test func whatIsNotConfiguredIsLeftOut() throws {
        var settings = settings
        settings.caching = false
        settings.stream = false
        #expect(
            try text(request([.user("hi")], tools: [], system: ""), settings)
                == #"{"model":"claude-x","max_tokens":100,"stream":false,"messages":[{"role":"user","content":[{"text":"hi","type":"text"}]}]}"#
        )
    }

    /// On the last tool, the system prompt and the last block of the two newest messages of the user: four, the most that there may be.
    @Test func breakpointsAreWhereTheCacheLooks() throws {
        let mark = #""cache_control":{"type":"ephemeral"}"#
        for turns in 1...4 {
            let list = [.user("go")] + (0..<turns - 1).flatMap { [call(), result("\($0)")] }
            let body = try text(request(list, tools: [Self.tool, Self.tool]))
            #expect(body.ranges(of: mark).count == 2 + min(turns, 2))
            let marked = try messages(list).map { $0["content"]?.array?.last?["cache_control"] != nil }
            #expect(marked == list.indices.map { list[$0].role == .user && $0 >= list.count - 3 })
            let tools = try #require(JSONValue(parsing: body)["tools"]?.array)
            #expect(tools.map { $0["cache_control"] != nil } == [false, true])
        }
    }

    /// Without the breakpoints each request begins with the one before it.
    @Test func aConversationGrowsAtItsEnd() throws {
        var encoder = RequestEncoder(settings)
        var list: [ChatMessage] = [.user("go")]
        var before = ""
        for turn in 0..<6 {
            let body = String(decoding: try encoder.body(for: request(list)), as: UTF8.self)
            // What is kept from the turns before makes no difference.
            #expect(try body == text(request(list)))
            let plain = body.replacing(#","cache_control":{"type":"ephemeral"}"#, with: "")
            #expect(plain.hasPrefix(before))
            before = String(plain.dropLast(2))
            list += [call(), result("result \(turn)")]
        }
    }

    @Test func aRewrittenPastIsEncodedAnew() throws {
        var encoder = RequestEncoder(settings)
        let long = [.user("go"), call(), result("long"), call(), result("end")]
        let lists = [
            long, [.user("go"), call(), result("cleared"), call(), result("end")], [.user("go")], long,
            [.user("other"), call()], [],
        ]
        for list in lists {
            #expect(try encoder.body(for: request(list)) == Array(text(request(list)).utf8))
        }
        let changed = request(long, tools: [], system: "Other.")
        #expect(try encoder.body(for: changed) == Array(text(changed).utf8))
    }

    /// Another model's thinking is refused, or worse, believed.
    @Test func thinkingGoesBackToWhomItIsFrom() throws {
        func types(_ model: String?, answeredBy name: String? = nil) throws -> [String] {
            var encoder = RequestEncoder(settings)
            if let name { encoder.answered(by: name) }
            let body = String(decoding: try encoder.body(for: request([.user("go"), call(model: model)])), as: UTF8.self)
            return try JSONValue(parsing: body)["messages"]?.array?.last?["content"]?.array?.compactMap { $0["type"]?.string }
                ?? []
        }
        let all = ["thinking", "text", "tool_use"]
        #expect(try types("claude-x") == all)
        #expect(try types(nil) == all)
        #expect(try types("claude-x-20261021") == all)
        #expect(try types("claude-xy") == ["text", "tool_use"])
        #expect(try types("claude-y") == ["text", "tool_use"])
        #expect(try types("claude-y", answeredBy: "claude-y") == all)
    }

    @Test func whatTheAPIDoesNotTakeIsNotSent() throws {
        let list = [
            .user("go"), ChatMessage(role: .assistant, content: [.text(" \n")]), .user("on"), call("{\"path\":"), result("no"),
            call([1, 2]), ChatMessage(role: .assistant, content: []),
        ]
        let sent = try messages(list)
        #expect(sent.map { $0["role"]?.string } == ["user", "user", "assistant", "user", "assistant"])
        #expect(sent[2]["content"]?.array?.last?["input"] == ["malformed": "{\"path\":"])
        #expect(sent[4]["content"]?.array?.last?["input"] == ["malformed": "[1,2]"])
    }
}

extension JSONValue {
    init(parsing text: String) throws { self = try CompactJSON.decode(JSONValue.self, from: Array(text.utf8), at: "test") }
}
