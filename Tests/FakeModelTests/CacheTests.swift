import AutonModel
import TestSupport
import Testing

@Suite struct CacheTests {
    private static let mark: JSONValue = ["type": "ephemeral"]

    private struct Tokens: Equatable, CustomStringConvertible {
        var read: Int
        var created: Int
        var rest: Int
        var description: String { "read \(read), created \(created), rest \(rest)" }
    }

    private static func block(_ letter: String, bytes: Int, marked: Bool = false) -> JSONValue {
        // A text block is {"text":"…","type":"text"}, 25 bytes around the text.
        let block = text(String(repeating: letter, count: bytes - 25))
        return marked ? block.with("cache_control", mark) : block
    }

    private static func ask(
        _ model: FakeModel, _ messages: [JSONValue], system: JSONValue = block("s", bytes: 4000, marked: true)
    ) async throws -> Tokens {
        let body = asking().with("messages", .array(messages)).with("system", [system])
        let usage = try await model.post(body).json["usage"] ?? [:]
        func count(_ name: String) -> Int { usage[name]?.integer ?? -1 }
        return Tokens(
            read: count("cache_read_input_tokens"), created: count("cache_creation_input_tokens"), rest: count("input_tokens"))
    }

    /// The newest message marked each turn, as our client does it.
    @Test func threeTurns() async throws {
        let model = try FakeModel("--cache-minimum", "1", "--prices", "4/20")
        func first(_ marked: Bool) -> JSONValue { user([Self.block("a", bytes: 400, marked: marked)]) }
        func second(_ marked: Bool) -> [JSONValue] {
            [
                assistant([Self.block("b", bytes: 80)]),
                user([Self.block("c", bytes: 120, marked: marked), Self.block("d", bytes: 40)]),
            ]
        }
        let third = [assistant([Self.block("e", bytes: 80)]), user([Self.block("f", bytes: 400)])]
        let turns = [
            try await Self.ask(model, [first(true)]),
            try await Self.ask(model, [first(false)] + second(true)),
            try await Self.ask(model, [first(false)] + second(true) + third),
            // The system prompt alone is still there; nothing of a changed one is.
            try await Self.ask(model, [user([Self.block("z", bytes: 400)])]),
            try await Self.ask(model, [first(true)], system: Self.block("t", bytes: 4000)),
        ]
        #expect(
            turns == [
                Tokens(read: 0, created: 1100, rest: 0), Tokens(read: 1100, created: 50, rest: 10),
                Tokens(read: 1150, created: 0, rest: 130), Tokens(read: 1000, created: 0, rest: 100),
                Tokens(read: 0, created: 1100, rest: 0),
            ])
        // "done" is {"type":"text","text":"done"}, 7 tokens, five times.
        let weighed = 1.25 * (1100 + 50 + 1100) + 0.1 * (1100 + 1150 + 1000) + 10 + 130 + 100
        let cost = JSONValue.number((weighed * 4 + 5 * 7 * 20) / 1e6)
        #expect(try await model.log().last?["total_usd"] == cost)
    }

    /// A breakpoint finds what ends at most 20 blocks back, its own counted; and what is too short is not kept.
    @Test func lookBackAndMinimum() async throws {
        let model = try FakeModel("--cache-minimum", "100")
        func message(_ blocks: Int) -> [JSONValue] {
            [
                user(
                    .array(
                        [Self.block("a", bytes: 400)] + (1..<blocks).map { _ in Self.block("b", bytes: 40) } + [
                            Self.block("c", bytes: 40, marked: true)
                        ]))
            ]
        }
        let start = user([Self.block("a", bytes: 400, marked: true)])
        let plain = text("s")
        #expect(try await Self.ask(model, [start], system: plain) == Tokens(read: 0, created: 106, rest: 0))
        #expect(try await Self.ask(model, message(19), system: plain) == Tokens(read: 106, created: 190, rest: 0))
        let other = try FakeModel("--cache-minimum", "100")
        _ = try await Self.ask(other, [start], system: plain)
        #expect(try await Self.ask(other, message(20), system: plain) == Tokens(read: 0, created: 306, rest: 0))
        let short = user([Self.block("a", bytes: 200, marked: true)])
        for _ in 1...2 { #expect(try await Self.ask(other, [short], system: plain) == Tokens(read: 0, created: 0, rest: 56)) }
    }

    /// Thinking comes back as it was handed out and where it was, a paused turn as a whole; a count is that of the answer.
    @Test func whatWasHandedOut() async throws {
        let thought: JSONValue = ["type": "thinking", "thinking": "hm", "signature": "s1"]
        let model = try FakeModel(script: [
            ["response": ["content": [thought, text("so")]]],
            ["response": ["content": [text("wait")], "stop_reason": "pause_turn"]],
        ])
        _ = try await model.post(asking(user("hi"), streamed: true))
        let next = asking(user("hi"), assistant([thought, text("so")]), user("go on"))
        #expect(try await model.post(next).json["stop_reason"] == "pause_turn")
        let paused = asking(user("hi"), assistant([thought, text("so")]), user("go on"), assistant([text("wait")]))
        let counted = try await model.post(paused, to: "/v1/messages/count_tokens").json["input_tokens"]
        let answer = try await model.post(paused)
        #expect(answer.status == 200)
        #expect(try answer.json["usage"]?["input_tokens"] == counted)
        let changed = thought.with("thinking", "hmm")
        for bad in [
            asking(user("hi"), assistant([changed, text("so")]), user("go on")),
            asking(user("hello"), assistant([thought, text("so")]), user("go on")),
            next.with("model", "claude-haiku-5-5"),
            asking(user("hi"), assistant([text("wait a bit")])),
        ] { #expect(try await model.post(bad).status == 400) }
    }
}
