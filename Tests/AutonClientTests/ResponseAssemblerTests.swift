import AutonMessages
import AutonModel
import Testing

@testable import AutonClient

@Suite struct ResponseAssemblerTests {
    private let turn = Turn(conversation: "boot-001.1", number: 3)

    /// What comes of events, given as their data.
    private func assemble(_ events: [String]) throws -> MessagesResponse? {
        var assembler = ResponseAssembler(turn: turn)
        for event in events { _ = try assembler.take("", Array(event.utf8)) }
        return assembler.whole
    }

    private static let start =
        #"{"type":"message_start","message":{"id":"msg_1","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":3,"cache_read_input_tokens":5,"output_tokens":1}}}"#
    private static let end = [
        #"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":9}}"#,
        #"{"type":"message_stop"}"#,
    ]

    /// The content of a stream of blocks: each as it begins, and its pieces.
    private func content(_ blocks: (String, [String])...) throws -> [ContentBlock] {
        let events = blocks.enumerated().flatMap { index, block in
            [#"{"type":"content_block_start","index":\#(index),"content_block":\#(block.0)}"#]
                + block.1.map { #"{"type":"content_block_delta","index":\#(index),"delta":\#($0)}"# }
                + [#"{"type":"content_block_stop","index":\#(index)}"#]
        }
        return try #require(try assemble([Self.start] + events + Self.end)).content
    }

    private func fault(_ body: () throws -> Any?) -> Failure? {
        do {
            _ = try body()
            return nil
        } catch { return error as? Failure }
    }

    @Test func aMessageIsPutTogether() throws {
        let response = try assemble(
            [Self.start, #"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#]
                + ["I ", "", "list…"].map {
                    #"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\#($0)"}}"#
                } + [#"{"type":"content_block_stop","index":0}"#] + Self.end)
        var usage = MessagesResponse.Usage(inputTokens: 3, outputTokens: 9)
        usage.cacheReadInputTokens = 5
        #expect(
            response
                == MessagesResponse(id: "msg_1", model: "m", content: [.text("I list…")], stopReason: "end_turn", usage: usage))
    }

    /// Input without output is no usage: whoever pays by it takes the worst case.
    @Test func halfOfTheUsageIsNone() throws {
        let response = try assemble([
            Self.start, #"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#, #"{"type":"message_stop"}"#,
        ])
        #expect(response?.usage == MessagesResponse.Usage(inputTokens: 0, outputTokens: 0))
    }

    @Test func everyCallHasAnIDOfItsOwn() throws {
        let call = #"{"type":"tool_use","id":"t","name":"list","input":{}}"#
        let ids = try content((call, []), (call, [])).map { if case .toolUse(let use) = $0 { use.id } else { "" } }
        #expect(ids == ["t", "t_2"])
    }

    @Test func thereIsNothingBeforeTheEnd() throws {
        let events =
            [Self.start, #"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"a"}}"#] + Self.end
        for count in 0..<events.count { #expect(try assemble(Array(events[..<count])) == nil) }
        // A block that was not ended is ended by the message.
        #expect(try assemble(events)?.content == [.text("a")])
    }

    @Test func aCallsInputIsPutTogether() throws {
        let call = #"{"type":"tool_use","id":"t1","name":"n","input":{}}"#
        func input(_ pieces: String...) throws -> JSONValue? {
            guard
                case .toolUse(let use) = try content(
                    (call, pieces.map { #"{"type":"input_json_delta","partial_json":\#(quoted($0))}"# }))[0]
            else { return nil }
            #expect(use.id == "t1" && use.name == "n")
            return use.input
        }
        #expect(try input() == [:])
        #expect(try input("", "") == [:])
        #expect(try input("", #"{"a"#, #"":[1,"ü"#, #"""#, "]}") == ["a": [1, "ü"]])
        // Not JSON: what was written goes on, and no tool takes it.
        #expect(try input(#"{"a":1"#, ",}}") == .string(#"{"a":1,}}"#))
        #expect(try input("{\"a\":\"x") == .string("{\"a\":\"x"))
    }

    @Test func thinkingAndUnknownBlocksAreKeptAsTheyAre() throws {
        let blocks = try content(
            (
                #"{"type":"thinking","thinking":"","signature":""}"#,
                [
                    #"{"type":"thinking_delta","thinking":"Let "}"#, #"{"type":"thinking_delta","thinking":"me."}"#,
                    #"{"type":"signature_delta","signature":"c2ln"}"#,
                ]
            ), (#"{"type":"redacted_thinking","data":"b3BhcXVl"}"#, []),
            (
                #"{"type":"server_tool_use","id":"s1","name":"web","input":{}}"#,
                [#"{"type":"input_json_delta","partial_json":"{\"q\":1}"}"#]
            ), (#"{"type":"new","deep":{"a":[null,1.5]}}"#, [#"{"type":"new_delta","text":"x"}"#]))
        #expect(
            blocks == [
                .other(["type": "thinking", "thinking": "Let me.", "signature": "c2ln"]),
                .other(["type": "redacted_thinking", "data": "b3BhcXVl"]),
                .other(["type": "server_tool_use", "id": "s1", "name": "web", "input": ["q": 1]]),
                .other(["type": "new", "deep": ["a": [.null, .number(1.5)]]]),
            ])
    }

    @Test func blocksMayOverlapAndIndicesMayBeAny() throws {
        func delta(_ index: Int, _ text: String) -> String {
            #"{"type":"content_block_delta","index":\#(index),"delta":{"type":"text_delta","text":"\#(text)"}}"#
        }
        func start(_ index: Int) -> String {
            #"{"type":"content_block_start","index":\#(index),"content_block":{"type":"text"}}"#
        }
        let events = [start(7), delta(7, "a"), start(-2), delta(-2, "b"), delta(7, "c")]
        #expect(try assemble([Self.start] + events + Self.end)?.content == [.text("ac"), .text("b")])
    }

    @Test func whatIsNoPartOfTheAnswerIsIgnored() throws {
        var assembler = ResponseAssembler(turn: turn)
        for (event, data) in [
            ("ping", #"{"type":"ping"}"#), ("", #"{"type":"ping"}"#), ("keep-alive", "no json"), ("", #"{"type":"new_event"}"#),
            ("", "[DONE]"), ("message", "{}"), ("", "{}"),
        ] {
            #expect(try !assembler.take(event, Array(data.utf8)), "\(event) \(data)")
        }
        // Servers may leave the type to the event's name.
        let part = try assembler.take("message_stop", Array("{}".utf8))
        #expect(part && assembler.isComplete)
    }

    @Test func anErrorEventIsAFailure() throws {
        let failure = fault {
            try assemble([Self.start, #"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#])
        }
        #expect(failure?.kind == .refused(status: 529, type: "overloaded_error"))
        #expect(failure?.message == "overloaded_error: Overloaded")
        #expect(failure?.mayBeBilled == true)
        #expect(fault { try assemble([#"{"type":"error"}"#]) }?.kind == .refused(status: 500, type: nil))
        #expect(fault { try assemble([#"{"type":"error","error":"out of memory"}"#]) }?.message == "out of memory")
    }

    @Test(arguments: [
        "", "{", "[1]", "7", #"{"type":"content_block_delta","index":4,"delta":{"type":"text_delta","text":"x"}}"#,
        #"{"type":"content_block_delta","delta":"text"}"#, #"{"type":"message_start","message":{"content":5}}"#,
    ])
    func whatBreaksTheProtocolIsAFailure(data: String) {
        let failure = fault { try assemble([Self.start, data]) }
        #expect(failure?.kind == .interrupted && failure?.message.hasPrefix("malformed answer: ") == true)
    }

    /// What local servers leave out.
    @Test func muchMayBeMissing() throws {
        let response = try assemble([
            #"{"type":"message_start","message":{"id":null,"usage":null}}"#,
            #"{"type":"content_block_start","content_block":{"type":"text","text":null}}"#,
            #"{"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}}"#, #"{"type":"content_block_stop"}"#,
            #"{"type":"content_block_start","content_block":{"type":"tool_use","id":"","name":"n","input":null}}"#,
            #"{"type":"content_block_stop"}"#, #"{"type":"message_delta","delta":{"stop_reason":null}}"#,
            #"{"type":"message_stop"}"#,
        ])
        #expect(
            response
                == MessagesResponse(
                    id: "", model: "", content: [.text("a"), .toolUse(ToolUse(id: "call_3_2", name: "n", input: [:]))],
                    stopReason: "tool_use", usage: MessagesResponse.Usage(inputTokens: 0, outputTokens: 0)))
        #expect(try assemble([#"{"type":"message_stop"}"#])?.stopReason == "end_turn")
    }

    /// Whatever comes, there is an answer, none yet, or a failure; and it is the same in pieces.
    @Test func garbageIsNoCrash() throws {
        var state: UInt64 = 1
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((state >> 33) % UInt64(bound))
        }
        let start = #"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"n"}}"#
        let delta = #"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"a\":[1]}"}}"#
        let stream = Array(([Self.start, start, delta] + Self.end).map { "event: x\rdata: \($0)\n\n" }.joined().utf8)
        func result(_ bytes: [UInt8], piece: Int) -> String {
            var parser = EventStreamParser()
            var assembler = ResponseAssembler(turn: turn)
            do {
                for start in stride(from: 0, to: bytes.count, by: piece) {
                    try bytes[start..<min(start + piece, bytes.count)].withUnsafeBytes { bytes in
                        try parser.feed(bytes) { _, data throws(Failure) in _ = try assembler.take("", data) }
                    }
                }
                return String(decoding: try CompactJSON.encode(assembler.whole), as: UTF8.self)
            } catch { return "\(error)" }
        }
        for _ in 0..<1000 {
            var bytes = stream
            for _ in 0...random(4) {
                let place = random(bytes.count - 40)
                switch random(3) {
                case 0: bytes[place] = UInt8(random(256))
                case 1: bytes.removeSubrange(place..<place + random(40))
                default: bytes.insert(contentsOf: bytes[place..<place + random(40)], at: random(bytes.count))
                }
            }
            #expect(result(bytes, piece: bytes.count) == result(bytes, piece: 3))
        }
    }

    @Test func countsAreTotalsAndNonsenseInThemIsBounded() throws {
        let usage = try assemble([
            Self.start, #"{"type":"message_delta","delta":{},"usage":{"output_tokens":4,"input_tokens":null}}"#,
            #"{"type":"message_delta","delta":{},"usage":{"output_tokens":7,"cache_creation_input_tokens":2}}"#,
            #"{"type":"message_stop"}"#,
        ])?.usage.tokens
        #expect(usage?.input == 3 && usage?.cacheCreation == 2 && usage?.cacheRead == 5 && usage?.output == 7)
        let wild = try assemble([
            #"{"type":"message_delta","delta":{},"usage":{"output_tokens":9223372036854775807,"input_tokens":-5}}"#,
            #"{"type":"message_stop"}"#,
        ])?.usage.tokens
        #expect(wild?.input == 0 && (wild?.output ?? .max) < .max / 1000)
    }
}

/// JSON text of a string.
func quoted(_ text: String) -> String {
    (try? CompactJSON.encode(text)).map { String(decoding: $0, as: UTF8.self) } ?? ""
}
