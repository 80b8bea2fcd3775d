import AutonModel
import TestSupport
import Testing

@Suite struct RefusalTests {
    /// What the API would not take, by the part of the reason that tells the cases apart.
    private static let bad: [(reason: String, request: JSONValue)] = [
        ("model: Field required", asking(user("hi")).with("model", nil)),
        ("max_tokens: Field required", asking(user("hi")).with("max_tokens", nil)),
        ("max_tokens: must be", asking(user("hi")).with("max_tokens", 0)),
        ("messages: Field required", asking().with("messages", nil)),
        ("at least one message", asking()),
        ("first message must use the \"user\" role", asking(assistant("hi"))),
        ("content must not be empty", asking(user([]))),
        ("must contain non-whitespace text", asking(user([text(" \n")]))),
        ("does not support assistant message prefill", asking(user("hi"), assistant("{"))),
        ("temperature: not supported", asking(user("hi")).with("temperature", 1)),
        ("tool: Extra inputs", asking(user("hi")).with("tool", [])),
        ("without `tool_result` in the next message: a", asking(user("hi"), assistant([use("a")]), user("go on"))),
        (
            "without `tool_result` in the next message: b",
            asking(user("hi"), assistant([use("a"), use("b")]), user([result("a")]), user([result("b")]))
        ),
        ("unexpected `tool_use_id` b", asking(user("hi"), assistant([use("a")]), user([result("a"), result("b")]))),
        ("must come before other content", asking(user("hi"), assistant([use("a")]), user([text("so"), result("a")]))),
        (
            "ids must be unique",
            asking(user("hi"), assistant([use("a")]), user([result("a")]), assistant([use("a")]), user([result("a")]))
        ),
        ("Input should be an object", asking(user("hi"), assistant([use("a", input: "x")]), user([result("a")]))),
        ("Found 5", asking(user(.array((1...5).map { text("\($0)").with("cache_control", ["type": "ephemeral"]) })))),
        (
            "not as it was handed out",
            asking(
                user("hi"), assistant([["type": "thinking", "thinking": "hm", "signature": "forged"], text("so")]), user("go on"))
        ),
        ("Tool names must be unique", asking(user("hi")).with("tools", [tool(), tool()])),
        (
            "'minLength' is not supported in strict schemas",
            asking(user("hi")).with("tools", [tool(["type": "string", "minLength": 1]).with("strict", true)])
        ),
        ("does not support forced tool use", asking(user("hi")).with("tools", [tool()]).with("tool_choice", ["type": "any"])),
    ]

    private static func tool(_ path: JSONValue = ["type": "string"]) -> JSONValue {
        ["name": "list", "input_schema": ["type": "object", "properties": ["path": path], "additionalProperties": false]]
    }

    @Test func whatTheAPIWouldNotTake() async throws {
        let model = try FakeModel(script: [["text_bytes": 10, "repeat": 0]])
        for (reason, request) in Self.bad {
            let reply = try await model.post(request)
            #expect(reply.status == 400)
            #expect(try reply.error.contains(reason), "\(reply.body)")
        }
        #expect(try await model.post(asking(user("hi")), headers: []).error == "anthropic-version: header is required")
        // The older version takes what the newer does not.
        let sampled = asking(user("hi")).with("temperature", 1)
        #expect(try await model.post(sampled, headers: ["anthropic-version: 2023-06-01"]).status == 200)
        // None of the refused ones took a step or was paid for.
        #expect(try await model.log().filter { $0["billed"] == true }.map { $0["step"] } == [1])
    }

    /// Escapes are what they stand for, so the cache knows them; what is no JSON is told with its place.
    @Test func malformedJSON() async throws {
        let model = try FakeModel("--cache-minimum", "1")
        func reply(_ text: String) async throws -> CurlReply {
            try await model.post(
                text:
                    #"{"messages":[{"role":"user","content":"\#(text)"}],"model":"m","max_tokens":9,"cache_control":{"type":"ephemeral"}}"#
            )
        }
        #expect(try await reply(#"é😀\u001f"#).json["usage"]?["cache_creation_input_tokens"] == 9)
        #expect(try await reply(#"\u00e9\ud83d\ude00\u001F"#).json["usage"]?["cache_read_input_tokens"] == 9)
        for (text, reason) in [
            (#"\ud83d"#, "half a surrogate pair: byte 44"), ("\t", "a control character in a string: byte 39"),
            (#"\x"#, "unknown escape"), (#"""#, "expected }"),
        ] {
            let refused = try await reply(text)
            #expect(refused.status == 400)
            #expect(try refused.error.contains(reason), "\(refused.body)")
        }
    }

    @Test func keyPathAndMethod() async throws {
        let model = try FakeModel("--key", "sesame")
        let hi = asking(user("hi"))
        func status(_ headers: String..., path: String = "/v1/messages") async throws -> Int {
            try await model.post(hi, to: path, headers: FakeModel.version + headers).status
        }
        #expect(try await status() == 401)
        #expect(try await status("x-api-key: other", "authorization: Bearer sesame") == 401)
        #expect(try await status("x-api-key: sesame") == 200)
        #expect(try await status("authorization: Bearer sesame") == 200)
        #expect(try await status("x-api-key: sesame", path: "/v1/complete") == 404)
        #expect(try await model.post(hi, headers: ["x-api-key: sesame"], options: "-X", "PUT").status == 405)
        let log = try await model.log()
        #expect(log.map { $0["headers"]?["x-api-key"] } == [nil, "wrong", "right", nil, "right", "right"])
        #expect(try !log.contains { try String(decoding: CompactJSON.encode($0), as: UTF8.self).contains("sesame") })
    }

    /// Other servers know no version, no cache and no count.
    @Test func subset() async throws {
        let model = try FakeModel("--subset")
        let hi = asking(user([text("hi").with("cache_control", ["type": "ephemeral"])])).with("temperature", 1)
        let reply = try await model.post(hi, headers: [])
        #expect(try reply.json["usage"] == ["input_tokens": 6, "output_tokens": 7])
        #expect(try await model.post(hi, to: "/v1/messages/count_tokens").status == 404)
        #expect(try await model.post(asking(assistant("hi"))).status == 400)
    }
}
